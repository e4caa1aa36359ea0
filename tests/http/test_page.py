"""The page's files: served only if asked for, to anyone, from here alone; its data stay behind the keys."""

import re

import aiohttp
import pytest
from yarl import URL

from gptdock.http import page

FILES = {f"/page/{path.name}": path.read_bytes() for path in page.FOLDER.iterdir()}
MOST_BYTES = 80_000
GUARDS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
OTHERS = ["/page/", "/page", "/page/nowhere", "/page/../openapi.json", "/page/..%2Fopenapi.json", "/page/%2e%2e/x"]
OTHERS += ["//page/main.js", "/page%2Fmain.js", "/page/main.js/", "/v1/models", "/v1/admin/status", "/dev/next"]


async def test_the_page_is_off_by_default(service):
    """As any path that is not served: 403 without a key, 404 with one."""
    paths = ["/", "/page/here.json", *FILES]
    async with aiohttp.ClientSession() as anyone:
        assert {(await anyone.get(f"{service.url}{path}")).status for path in paths} == {403}
    assert {(await service.session.get(f"{service.url}{path}")).status for path in paths} == {404}


async def test_the_page_needs_no_key_and_all_else_does(serve):
    async with serve(dashboard="on") as service, aiohttp.ClientSession() as anyone:
        for path, content in FILES.items() | {("/", FILES["/page/index.html"])}:
            async with anyone.get(f"{service.url}{path}") as response:
                assert (response.status, await response.read()) == (200, content)
                assert response.headers.items() >= GUARDS.items()
        async with anyone.get(f"{service.url}/page/here.json") as response:
            assert await response.json() == {"dev": False}
            assert response.headers.items() >= GUARDS.items()
        assert {(await anyone.get(URL(f"{service.url}{path}", encoded=True))).status for path in OTHERS} == {403}


async def test_another_method_than_get_needs_a_key_and_is_not_allowed(serve):
    async with serve(dashboard="on") as service, aiohttp.ClientSession() as anyone:
        for method in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            for path in ("/", "/page/main.js", "/page/here.json"):
                assert (await anyone.request(method, f"{service.url}{path}")).status == 403
                async with service.session.request(method, f"{service.url}{path}") as response:
                    assert (response.status, response.headers["Allow"]) == (405, "GET")


async def test_no_key_opens_what_only_gptdock_dev_has(serve):
    async with (
        serve(dashboard="on") as service,
        service.session.post(f"{service.url}/dev/next", json={"play": "slow"}) as response,
    ):
        assert response.status == 404


async def test_a_file_of_the_page_is_sent_again_once_it_changed(serve):
    async with serve(dashboard="on") as service, aiohttp.ClientSession() as anyone:
        async with anyone.get(f"{service.url}/page/main.js") as response:
            tag = response.headers["ETag"]
        for given, status in ((tag, 304), (f'W/{tag}, "x"', 304), ('"0123456789abcdef"', 200), ("", 200)):
            async with anyone.get(f"{service.url}/page/main.js", headers={"If-None-Match": given}) as response:
                assert (given, response.status) == (given, status)
                assert await response.read() == (b"" if status == 304 else FILES["/page/main.js"])
                assert (response.headers["ETag"], response.headers["Cache-Control"]) == (tag, "no-cache")


async def test_the_status_tells_how_the_process_does(service):
    async with service.ask() as response:
        await response.read()
        async with service.admin("GET", "status") as told:
            content = await told.json()

    assert content.pop("version")
    assert content == {
        "process": "serving",
        "dynamodb": "ready",
        "upstream": {"last": "complete"},
        "open_answers": 0,
        "max_streams": 1000,
    }


def test_the_page_is_small_and_loads_nothing_from_elsewhere():
    assert sum(map(len, FILES.values())) < MOST_BYTES
    for name, content in FILES.items():
        hosts = set(re.findall(r"(?:https?:)?//[a-z][\w.-]+", content.decode()))
        assert hosts <= {"http://www.w3.org"}, name


def test_the_page_has_no_inline_script_or_style():
    text = FILES["/page/index.html"].decode()

    assert re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", text) == []


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_a_module_of_the_page_never_makes_markup_of_text(name: str):
    assert not re.search(rb"innerHTML|insertAdjacentHTML|document\.write|eval\(|localStorage", FILES[name])
