"""The page, in a real browser, against `gptdock dev`: what it shows is what the books say."""

import asyncio
import re
from typing import Any
from urllib.parse import quote

import aiohttp
from selenium.webdriver.common.keys import Keys

from tests.harness.browser import Browser, browsing
from tests.harness.processes import dev

ADMIN = {"Authorization": "Bearer dev-admin-key"}
WHO = {"client_id": "1234", "product_id": "demo"}
MARKUP = "<img src=x onerror=alert(1)>"
LONG = MARKUP + "\u202e" + "ü" * 100
SETTINGS = {"OPENAI_EMBEDDING_MODELS": "text-embedding-3-small"}
LOOKS = [(1280, "light"), (375, "dark")]  # colours go by the second, places by the first


async def read(url: str, path: str, **query: str) -> Any:
    async with (
        aiohttp.ClientSession(headers=ADMIN) as session,
        session.get(f"{url}/v1/admin/{path}", params=WHO | query) as response,
    ):
        return await response.json()


async def embed(url: str, count: int) -> None:
    """So many receipts of a client whose ids are markup, and longer than a line."""
    path = f"{url}/clients/{quote(LONG, safe='')}/{quote(MARKUP, safe='')}/v1/embeddings"
    body = {"model": SETTINGS["OPENAI_EMBEDDING_MODELS"], "input": "Hi", "user": LONG}
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer dev-key"}) as session:
        answers = await asyncio.gather(*(session.post(path, json=body) for _ in range(count)))
    assert {answer.status for answer in answers} == {200}


def number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def charged(text: str) -> int:
    """The number of tokens that the line of state tells."""
    return number(re.findall(r"([\d,]+) tokens charged", text)[0])


def shown(browser: Browser, name: str) -> int:
    """The number with this name in the legend of the quota."""
    legend = browser.driver.execute_script("return document.querySelector('#quota dl').innerText")
    [value] = re.findall(rf"{name}\n([\d,]+)", legend)
    return number(value)


def focused(browser: Browser) -> str:
    return browser.driver.switch_to.active_element.text


def typed(browser: Browser, *keys: str) -> None:
    """Type where the keyboard is."""
    browser.driver.switch_to.active_element.send_keys(*keys)


def stop_a_stream(browser: Browser) -> int:
    """Ask, stop once words have come, and return what the page says was charged."""
    browser.press("A slow OpenAI")  # so that it is still open then on a busy machine
    browser.until(lambda: browser.find("#answer").text)
    assert shown(browser, "held") > 0
    browser.until(lambda: "1 of 1,000 answers" in browser.find("#lights").text)
    browser.press("Stop")
    return charged(browser.says("Stopped. "))


def change(browser: Browser, field: str, tokens: int, done: str) -> str:
    """Type a number, confirm, all by keyboard, and return what was asked before. The first attempt is cancelled."""
    place = browser.find(field)
    place.clear()
    place.send_keys(str(tokens), Keys.ENTER)
    browser.find("#confirm-text")
    assert focused(browser) == "Cancel"
    typed(browser, Keys.ESCAPE)
    browser.until(lambda: not browser.all("dialog[open]"))
    assert browser.driver.switch_to.active_element == place
    place.send_keys(Keys.ENTER)
    text: str = browser.find("#confirm-text").text
    typed(browser, Keys.SHIFT, Keys.TAB)
    typed(browser, Keys.ENTER)
    browser.says(done)
    return text


def whys(browser: Browser) -> list[str]:
    """Why each receipt of the client that is open was charged, once all are loaded, by keyboard."""
    while browser.all("#client-details .older"):
        more = f"#client-details tbody tr:nth-child({len(browser.all('#client-details .why')) + 1}) .why"
        browser.find("#client-details .older").send_keys(Keys.ENTER)
        browser.find(more)
    return [each.text for each in browser.all("#client-details .why")]


def faults(browser: Browser) -> list[str]:
    """What axe-core finds, and what is wider than the screen, on each of LOOKS."""
    found = []
    for width, scheme in LOOKS:
        browser.look(width, scheme)
        found += [f"{width} {scheme} {each}" for each in browser.violations()]
        found += [f"{width} overflows"] if browser.overflows() else []
    browser.look(1280, "light")
    return found


async def test_the_page_shows_what_the_books_say(tmp_path):
    """One browser for all: a start takes seconds."""
    async with dev(tmp_path, **SETTINGS) as running:
        await embed(running.url, 25)
        with browsing(tmp_path / "profile") as browser:
            browser.driver.get(running.url)
            browser.says("Ready.")
            browser.find("#send").send_keys(Keys.ENTER)
            spent = [charged(browser.says("Answered. "))]
            assert focused(browser) == "Send"  # the keyboard goes on where it was
            assert "simulated OpenAI" in browser.find("#answer").text
            spent.append(stop_a_stream(browser))
            browser.press("Break the stream")
            spent.append(charged(browser.says("The answer broke off (upstream_error)")))
            assert "upstream_error" in browser.find("#requests tbody tr").text
            faulty = faults(browser)
            answered = await read(running.url, "client/usage", by="request")
            left = shown(browser, "left")
            browser.press("Use the quota up")
            refused = browser.says("Refused with 402 ")
            browser.find("#tab-ask").send_keys(Keys.ARROW_RIGHT)
            browser.press("1234")
            browser.until(lambda: focused(browser) == "1234 / demo")
            asked = change(browser, "#new-quota", 300_000, "The quota is ")
            change(browser, "#credit", 500, "500 tokens were added.")
            client = await read(running.url, "client")
            receipts = whys(browser)
            browser.press("Reset the period")
            faulty += faults(browser)
            browser.press("Cancel")
            browser.find("#search-id").send_keys(MARKUP, Keys.ENTER)
            browser.until(lambda: [each.text for each in browser.all("#clients .link")] == [LONG])
            browser.find("#clients .link").click()
            browser.until(lambda: focused(browser) == f"{LONG} / {MARKUP}")
            many = whys(browser)
            faulty += faults(browser)
            browser.press("Keys")
            faulty += browser.violations()
            stored = browser.driver.execute_script(
                "return [location.href, localStorage.length, document.images.length]"
            )
            complaints = browser.driver.get_log("browser")

    rows = answered["rows"]
    assert [row["tokens"] for row in rows] == spent
    assert [row["source"] for row in rows] == ["upstream", "counted", "counted"]
    assert left == 500_000 - sum(spent)
    assert refused.endswith(" 0 tokens charged.")
    [book] = client["books"]
    assert (book["max_quota"], book["quota_used"]) == (300_500, sum(spent))
    assert f"{sum(spent)} now" in asked
    assert len(receipts) == 6  # three answers, the quota set twice, a credit
    assert receipts[0].startswith("An operator added tokens: +500: ")
    assert receipts[1] == f"An operator set the quota: {sum(spent)} -> 300,000."
    assert len(many) == 25
    assert faulty == []
    assert stored == [f"{running.url}/", 0, 0]
    assert [each["message"] for each in complaints if not re.search(r"status of 40[24]", each["message"])] == []
