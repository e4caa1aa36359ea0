"""The page, in a real browser, against `gptdock dev`: what it shows is what the books say."""

import re
from typing import Any

import aiohttp

from tests.harness.browser import Browser, browsing
from tests.harness.processes import dev

ADMIN = {"Authorization": "Bearer dev-admin-key"}
WHO = {"client_id": "1234", "product_id": "demo"}


async def read(url: str, path: str, **query: str) -> Any:
    async with (
        aiohttp.ClientSession(headers=ADMIN) as session,
        session.get(f"{url}/v1/admin/{path}", params=WHO | query) as response,
    ):
        return await response.json()


def number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def shown(browser: Browser, name: str) -> int:
    """The number with this name in the legend of the quota."""
    legend = browser.driver.execute_script("return document.querySelector('#quota dl').innerText")
    [value] = re.findall(rf"{name}\n([\d,]+)", legend)
    return number(value)


def stop_a_stream(browser: Browser) -> int:
    """Ask, stop once words have come, and return what the page says was charged."""
    browser.press("A slow OpenAI")  # so that it is still open then on a busy machine
    browser.until(lambda: browser.find("#answer").text)
    assert shown(browser, "held") > 0
    browser.press("Stop")
    return number(browser.says("Stopped. "))


def set_quota(browser: Browser, tokens: int) -> str:
    """Set the quota of the client that is open, and return what was asked before."""
    field = browser.find("#new-quota")
    field.clear()
    field.send_keys(str(tokens))
    browser.press("Set quota")
    text: str = browser.find("#confirm-text").text
    browser.find("#confirm-yes").click()
    browser.says("The quota is ")
    return text


async def test_the_page_shows_what_the_books_say(tmp_path):
    """One browser for all: a start takes seconds."""
    async with dev(tmp_path) as running:
        with browsing(tmp_path / "profile") as browser:
            browser.driver.get(running.url)
            browser.says("Ready.")
            browser.press("Send")
            charged = [number(browser.says("Answered. "))]
            assert browser.driver.switch_to.active_element.text == "Send"  # the keyboard goes on where it was
            assert "simulated OpenAI" in browser.find("#answer").text
            charged.append(stop_a_stream(browser))
            browser.press("Break the stream")
            charged.append(number(re.findall(r"(\d+) tokens charged", browser.says("200: "))[0]))
            assert "upstream_error" in browser.find("#requests tbody tr").text
            spent = await read(running.url, "client/usage", by="request")
            left = shown(browser, "left")
            browser.press("Use the quota up")
            refused = browser.says("402: ")
            browser.press("Usage")
            browser.find("#clients .link").click()
            asked = set_quota(browser, 300_000)
            browser.find("#credit").send_keys("500")
            browser.press("Credit")
            browser.press("Credit now")
            browser.says("500 tokens were added.")
            client = await read(running.url, "client")
            receipts = [each.text for each in browser.all("#client-details .why")]
            complaints = browser.driver.get_log("browser")

    rows = spent["rows"]
    assert [row["tokens"] for row in rows] == charged
    assert [row["source"] for row in rows] == ["upstream", "counted", "counted"]
    assert left == 500_000 - sum(charged)
    assert refused.endswith("0 tokens charged.")
    [book] = client["books"]
    assert (book["max_quota"], book["quota_used"]) == (300_500, sum(charged))
    assert f"{sum(charged)} now" in asked
    assert len(receipts) == 6  # three answers, the quota set twice, a credit
    assert [each["message"] for each in complaints if not re.search(r"status of 40[24]", each["message"])] == []
