"""A real Chromium without a window, driven over WebDriver by Debian's own driver."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.harness.processes import PATIENCE_SECONDS

AXE = Path(sys.prefix) / "axe" / "axe_playwright_python" / "axe.min.js"
RUN_AXE = """
const done = arguments[0], places = (rule) => rule.nodes.map((node) => node.target.join(' ')).join(', ');
axe.run({resultTypes: ['violations']}).then((found) => {
  done(found.violations.map((rule) => `${rule.id}: ${places(rule)}`));
});
"""
MISSING = "This test needs {}: apt-get install -y chromium chromium-driver (Debian), as .ci/run does"
NARROW = 500  # pixels
CHANGED = [StaleElementReferenceException]  # what was found is being shown anew
OPTIONS = ["headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"]
OPTIONS += ["disable-background-networking", "disable-component-update", "disable-dev-shm-usage"]


class Browser:
    """One window. What is looked for is awaited; a wait raises TimeoutException after PATIENCE_SECONDS."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self._wait = WebDriverWait(driver, PATIENCE_SECONDS, poll_frequency=0.05, ignored_exceptions=CHANGED)

    def find(self, selector: str) -> WebElement:
        """The first element that is shown and matches this CSS selector."""
        return self.until(lambda: next((each for each in self.all(selector) if each.is_displayed()), None))

    def all(self, selector: str) -> list[WebElement]:
        """All elements that match now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def until(self, happened: Callable[[], Any]) -> Any:
        """The value of `happened` once that is true."""
        return self._wait.until(lambda _driver: happened())

    def says(self, start: str) -> str:
        """The line of state, once it begins so."""
        return str(self.until(lambda: (text := self.find("#status").text).startswith(start) and text))

    def violations(self) -> list[str]:
        """What axe-core finds wrong with what is shown now: each rule with the elements that break it."""
        assert AXE.exists(), "This test needs axe-core: make .venv/axe"
        self.until(lambda: self.driver.execute_script("return document.getAnimations().length === 0"))
        if not self.driver.execute_script("return typeof axe === 'object'"):
            self.driver.execute_script(AXE.read_text(encoding="utf-8"))
        return list(self.driver.execute_async_script(RUN_AXE))

    def look(self, width: int, scheme: str) -> None:
        """Be this wide from now on, in pixels, and `light` or `dark`."""
        metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < NARROW}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def overflows(self) -> bool:
        """Whether the page has to be scrolled sideways."""
        script = "return document.documentElement.scrollWidth > innerWidth"
        return bool(self.driver.execute_script(script))

    def press(self, name: str) -> None:
        """Click the button with this text."""
        path = f"//button[normalize-space()='{name}' and not(@disabled)]"
        self.until(
            lambda: next((b for b in self.driver.find_elements(By.XPATH, path) if b.is_displayed()), None)
        ).click()


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Run a browser with a new profile in this folder. Fails if none is installed."""
    paths = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = " and ".join(name for name, path in paths.items() if path is None)
    assert not missing, MISSING.format(missing)
    options = ChromeOptions()
    options.binary_location = str(paths["chromium"])
    for option in (*OPTIONS, f"user-data-dir={profile}", "window-size=1280,1000"):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(executable_path=paths["chromedriver"]))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
