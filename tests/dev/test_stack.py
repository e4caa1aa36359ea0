"""`gptdock dev` as a process: what it prints, and what else works beside it."""

import json
import re
import socket

import aiohttp
import pytest

from gptdock.dev import beside, stack
from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import Script
from gptdock.http.app_keys import SERVICES
from tests.harness.processes import dev, run
from tests.harness.service import NOBODY, QUESTION, make_settings, sse_data

HEADERS = {"Authorization": "Bearer dev-key"}
UNKNOWN_KEY = {"message": "Incorrect API key provided: sk-very-secret-1.", "code": "invalid_api_key", "type": "x"}


async def test_dev_prints_a_block_and_commands_of_its_folder_find_it(tmp_path):
    async with dev(tmp_path, "--data", "q.json") as running, aiohttp.ClientSession(headers=HEADERS) as session:
        async with session.post(f"{running.url}/v1/ask", json=QUESTION) as response:
            usage = (await response.json())["usage"]
        listed = await run("client", "show", "c1", "p1", "--json", cwd=tmp_path, env={})
    after = await run("client", "list", cwd=tmp_path, env={"AWS_EC2_METADATA_DISABLED": "true"})

    rows = dict(re.findall(r"^  (\S.*?)  +(.*)$", "\n".join(running.lines), re.MULTILINE))
    assert list(rows) == ["page", "URL", "client URL", "key", "admin key", "OpenAI", "DynamoDB"]
    assert rows["DynamoDB"].endswith("kept in q.json")
    assert {line.index(value) for value in rows.values() for line in running.lines if f"  {value}" in line} == {14}
    assert max(map(len, running.lines)) <= 80
    [book] = json.loads(listed.out)["books"]
    assert book["quota_used"] == usage["total_tokens"]
    assert "`gptdock dev`" in listed.err
    assert (after.code, "NoCredentials" in after.err) == (1, True)
    assert json.loads((tmp_path / "q.json").read_text())["tables"]["gptdock_usage"]


async def test_dev_tells_why_the_upstream_failed(tmp_path, openai: SimulatedOpenAI):
    openai.script = Script(status=401, error=UNKNOWN_KEY)
    settings = {"OPENAI_API_KEY": "sk-very-secret-1", "OPENAI_BASE_URL": openai.url, "MAX_STREAM": "7"}
    async with dev(tmp_path, **settings) as running, aiohttp.ClientSession(headers=HEADERS) as session:
        async with session.post(f"{running.url}/v1/ask", json=QUESTION) as response:
            refused = (await response.json())["error"]["message"]
        openai.script = Script(cut="close", cut_at=3)
        async with session.post(f"{running.url}/v1/ask", json=QUESTION | {"stream": True}) as response:
            broken = json.loads(sse_data(await response.read())[-1])["error"]["message"]
        await openai.stop()
        async with session.post(f"{running.url}/v1/ask", json=QUESTION) as response:
            unreachable = (await response.json())["error"]["message"]
        running.process.terminate()
        _, log = await running.process.communicate()

    assert refused == "The upstream failed. Cause: 401 invalid_api_key Incorrect API key provided: ***."
    assert broken.startswith("The upstream's answer broke off. Cause: ClientPayloadError")
    assert unreachable.startswith("The upstream failed. Cause: ClientConnectorError Cannot connect to host 127.0.0.1")
    lines = log.decode().splitlines()
    assert any("no such setting" in line and 'meant="MAX_STREAMS"' in line for line in lines)
    assert any(
        re.match(r"\d\d:\d\d:\d\d 502 POST /v1/ask c1/p1 \d+ tokens \d+ ms upstream_error", line) for line in lines
    )


async def test_a_port_in_use_names_another(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        finished = await run("dev", "--port", str(port), cwd=tmp_path, env={})

    assert finished.code == 1
    assert finished.err.strip().endswith(f"another one: make run PORT={port + 1}")


async def test_the_version_is_printed(gptdock):
    finished = await gptdock({}, "--version")

    assert re.fullmatch(r"gptdock \d+\.\d+\.\d+\n", finished.out)


def test_a_process_that_was_killed_is_not_found(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    beside.FILE.write_text("http://127.0.0.1:6001")

    assert beside.found({}) is None
    with beside.announced("http://127.0.0.1:6002"):
        assert beside.found({}) == "http://127.0.0.1:6002"
        with beside.announced("http://127.0.0.1:6003"):  # a second one in the folder
            assert beside.found({}) == "http://127.0.0.1:6002"
    assert not beside.FILE.exists()


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ACCESS_KEY_ID"])
def test_another_dynamodb_that_is_named_is_preferred(tmp_path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    with beside.announced("http://127.0.0.1:6002"):
        assert beside.found({name: "x"}) is None


@pytest.mark.parametrize(("keys", "told"), [("dev-key", "dev-key"), ("secret", ""), ("secret,dev-key", "dev-key")])
def test_the_page_is_told_no_key_but_the_one_that_everybody_knows(keys: str, told: str):
    settings = make_settings(NOBODY, NOBODY, pre_shared_key=keys, admin_key="secret-admin")

    here = stack._application(settings, None)[SERVICES].here

    assert (here["key"], here["admin_key"]) == (told, "")
