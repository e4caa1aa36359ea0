"""`gptdock check` finds what would keep a process from serving, and changes nothing."""

from pathlib import Path

import pytest
from aiohttp import web

from gptdock.cli.check import environment_file
from gptdock.ledger.store import Store
from tests.harness.processes import environment

OK = dict.fromkeys(("environment file", "settings", "address", "key at OpenAI", "tables"), "ok")
OK |= dict.fromkeys(("expiry", "permissions", "clock"), "ok")


def lines(text: str) -> dict[str, str]:
    return {line[:16].strip(): line[17:] for line in text.splitlines()}


@pytest.fixture
def checked(gptdock, openai, monkeypatch, tmp_path):
    """Runs `check` in an empty folder, at a free port, with a working OpenAI; returns its exit code and its lines."""
    monkeypatch.chdir(tmp_path)

    async def check(dynamodb: str, **more: str) -> tuple[int, dict[str, str]]:
        given = {"HOST": "127.0.0.1", "PORT": "0", "ADMIN_KEY": "admin", "OPENAI_BASE_URL": openai.url} | more
        env = environment(dynamodb) | given
        finished = await gptdock(env, "check")
        assert "sk-upstream-secret" not in finished.out + finished.err
        return finished.code, lines(finished.out)

    return check


async def test_a_check_of_what_works_says_ok_on_each_line_and_writes_nothing(checked, dynamodb: str, store: Store):
    assert await checked(dynamodb) == (0, OK)

    for table in store.tables.values():
        assert (await store.call("scan", TableName=table))["Items"] == []


async def test_a_check_names_what_is_wrong(checked, service, dynamodb: str, openai):
    """One cause after the other, on one DynamoDB and one OpenAI."""
    found = [
        await checked(dynamodb, OPENAI_MODEL="gpt-9"),
        await checked(dynamodb, OPENAI_BASE_URL="http://127.0.0.1:1/v1"),
        await checked(dynamodb, DYNAMODB_TABLE_PREFIX="other_"),
        await checked(dynamodb, PORT=service.url.rpartition(":")[2]),  # GPTDock's own, as during an upgrade
        await checked(dynamodb, PORT=openai.url.rpartition(":")[2].partition("/")[0]),
        await checked("http://127.0.0.1:1"),
        await checked(dynamodb, PORT="x"),
    ]

    wrong = [(code, {name: text for name, text in said.items() if text != "ok"}) for code, said in found]
    assert [code for code, _ in wrong] == [1, 1, 1, 0, 1, 1, 1]
    assert wrong[0][1] == {"key at OpenAI": "FAILED: the upstream does not list gpt-9"}
    assert wrong[1][1] == {"key at OpenAI": "FAILED: OPENAI_BASE_URL: no list of models comes (ClientConnectorError)"}
    missing = "FAILED: DYNAMODB_TABLE_PREFIX: there is no table other_quota; run `gptdock tables`"
    assert wrong[2][1] == {"tables": missing}
    assert list(wrong[4][1]) == ["address"]
    assert wrong[5][1].keys() == {"tables"}
    assert wrong[6][1] == {"settings": "FAILED: PORT must be a whole number from 0 to 65535"}


async def test_a_check_names_the_actions_that_are_not_allowed(checked, dynamodb: str, aiohttp_raw_server):
    """A DynamoDB that denies two actions, and whose receipts never expire."""

    async def answer(request: web.BaseRequest) -> web.Response:
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        if operation in ("Scan", "UpdateItem", "DeleteItem"):
            body = {"__type": "com.amazon#AccessDeniedException", "message": "not authorized"}
            return web.json_response(body, status=400, content_type="application/x-amz-json-1.0")
        if operation == "DescribeTimeToLive":
            ttl = {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
            return web.json_response(ttl, content_type="application/x-amz-json-1.0")
        return web.json_response({"Items": [], "Table": {}}, content_type="application/x-amz-json-1.0")

    server = await aiohttp_raw_server(answer)
    code, said = await checked(str(server.make_url("")).rstrip("/"))

    wrong = {name: text for name, text in said.items() if text != "ok"}
    _, forgets = await checked(str(server.make_url("")).rstrip("/"), FORGET_KEY="k" * 32)
    assert code == 1
    assert forgets["permissions"] == wrong["permissions"] + ", dynamodb:DeleteItem"
    assert wrong == {
        "expiry": "FAILED: receipts never expire: run `gptdock tables`",
        "permissions": "FAILED: not allowed: dynamodb:UpdateItem, dynamodb:Scan",
    }


async def test_a_key_that_the_upstream_refuses_is_named(checked, dynamodb: str, aiohttp_raw_server):
    async def refuse(request: web.BaseRequest) -> web.Response:
        return web.json_response({"error": {}}, status=401)

    server = await aiohttp_raw_server(refuse)
    code, said = await checked(dynamodb, OPENAI_BASE_URL=str(server.make_url("/v1")))

    assert code == 1
    assert said["key at OpenAI"] == "FAILED: OPEN_AI_KEY or OPENAI_BASE_URL: the upstream answers 401"


@pytest.mark.parametrize(("mode", "is_wrong"), [(0o640, False), (0o600, False), (0o644, True), (0o660, True)])
def test_a_file_of_keys_that_others_can_read_or_change_is_wrong(mode: int, is_wrong: bool, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    path = tmp_path / ".env"
    assert environment_file(path) == ""
    path.touch()
    path.chmod(mode)

    assert bool(environment_file(path)) == is_wrong


def test_a_file_of_keys_that_its_reader_can_change_is_wrong(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    path = tmp_path / ".env"
    path.touch(0o600)

    assert "can be changed by the user that serves" in environment_file(path)
