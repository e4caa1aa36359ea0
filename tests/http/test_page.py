"""The page's files: served only if asked for, to anyone, from here alone; its data stay behind the keys."""

import re

import aiohttp
import pytest

from gptdock.http import page

FILES = {f"/page/{path.name}": path.read_bytes() for path in page.FOLDER.iterdir()}
MOST_BYTES = 80_000


async def test_the_page_is_off_by_default(service):
    async with aiohttp.ClientSession() as anyone:
        statuses = [(await anyone.get(f"{service.url}{path}")).status for path in ("/", *FILES)]

    assert set(statuses) == {403}


async def test_the_page_needs_no_key_and_all_else_does(serve):
    async with serve(dashboard="on") as service, aiohttp.ClientSession() as anyone:
        for path, content in FILES.items() | {("/", FILES["/page/index.html"])}:
            async with anyone.get(f"{service.url}{path}") as response:
                assert (response.status, await response.read()) == (200, content)
                assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
            async with anyone.get(f"{service.url}{path}", headers={"If-None-Match": response.headers["ETag"]}) as again:
                assert (again.status, await again.read()) == (304, b"")
        async with anyone.get(f"{service.url}/page/here.json") as response:
            assert await response.json() == {"dev": False}
        others = ("/page/", "/page/nowhere", "/page/..%2Fopenapi.json", "/v1/models", "/v1/admin/status", "/dev/next")
        assert {(await anyone.get(f"{service.url}{path}")).status for path in others} == {403}
        assert (await anyone.post(f"{service.url}/")).status == 403
        assert (await service.session.post(f"{service.url}/dev/next", json={"play": "slow"})).status == 404


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
