"""The commands as a process: which settings they refuse, where they read them, how they stop."""

import asyncio
import shutil
import socket
import sys

import aiohttp
import pytest

from gptdock import __main__
from gptdock.accounts import Account
from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import Script
from gptdock.ledger.store import Store
from gptdock.prompt import tokens
from tests.harness.processes import PATIENCE_SECONDS, SECRETS, Finished, environment, run, serving, starting
from tests.harness.proxy import Proxy
from tests.harness.service import KEY, NOBODY, QUESTION, make_settings, read_receipts, sse_data

HEADERS = {"Authorization": f"Bearer {KEY}"}


def assert_refused(finished: Finished, *words: str) -> None:
    """The command did not start, and said why in one line without secrets."""
    assert finished.code == 1
    [line] = finished.err.splitlines()
    assert line.startswith("gptdock: ")
    assert all(word in line for word in words), line
    assert not any(secret in finished.err + finished.out for secret in SECRETS.values())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"OPEN_AI_KEY": ""}, ["OPEN_AI_KEY is missing"]),
        ({"PRE_SHARED_KEY": " "}, ["PRE_SHARED_KEY is missing"]),
        ({"PORT": "http"}, ["PORT must be a whole number"]),
        ({"PRE_SHARED_KEY": f"{KEY},{KEY}"}, ["PRE_SHARED_KEY must be one or more different words"]),
        ({"OPENAI_BASE_URL": "ftp://openai/v1"}, ["OPENAI_BASE_URL must be"]),
        ({"OPENAI_BASE_URL": "https://user:sk-upstream-secret@openai/v1"}, ["OPENAI_BASE_URL must be"]),
        ({"OPENAI_BASE_URL": "http://[::1/v1"}, ["OPENAI_BASE_URL must be"]),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "dynamodb:8000"}, ["AWS_ENDPOINT_URL_DYNAMODB must be"]),
        ({"AWS_SECRET_ACCESS_KEY": ""}, ["AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set together"]),
    ],
)
async def test_a_wrong_setting_stops_the_start_with_one_line(gptdock, wrong, words):
    finished = await gptdock(environment() | wrong, "serve")

    assert_refused(finished, *words)


def test_a_file_of_settings_that_is_not_utf_8_stops_the_start_with_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / ".env").write_bytes(b"PRE_SHARED_KEY=\xff\xfe")
    monkeypatch.chdir(tmp_path)

    finished = Finished(__main__.main(["tables"]), *capsys.readouterr())

    assert_refused(finished, ".env", "UTF-8")


async def test_a_port_in_use_stops_the_start_with_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        finished = await run("serve", cwd=tmp_path, env=environment(HOST="127.0.0.1", PORT=port))

    assert_refused(finished, "PORT", port, "Address already in use")


async def test_a_missing_table_stops_the_start_with_one_line(tmp_path, without_tables: str):
    finished = await run("serve", cwd=tmp_path, env=environment(without_tables, PORT="0"))

    assert_refused(finished, "gptdock_quota", "run `gptdock tables`")


@pytest.mark.parametrize("content", [None, b"", b"\x1f\x8b corrupt"], ids=["missing", "empty", "corrupt"])
async def test_a_broken_tokenizer_file_stops_the_start_with_one_line(tmp_path, content):
    installed = shutil.copytree(tokens.DATA.parent, tmp_path / "gptdock")  # python -m finds this copy first
    file = installed / "data/o200k_base.tiktoken.gz"
    file.unlink()
    if content is not None:
        file.write_bytes(content)

    finished = await run("serve", cwd=tmp_path, env=environment(PORT="0"), command=(sys.executable, "-m", "gptdock"))

    assert_refused(finished, "The tokenizer file o200k_base.tiktoken.gz is", "install again")


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_sigterm_during_the_start_ends_it_at_once(tmp_path, proxy: Proxy, store: Store, signals: int):
    proxy.always = "hole"
    async with starting(tmp_path, environment(proxy.url)) as running:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await proxy.struck.wait()  # it is looking for its tables
        for _ in range(signals):
            running.terminate()
        proxy.always = None

        assert await running.ended() == 0


async def test_the_collector_spares_what_lives_long_and_takes_few_at_once(tmp_path, dynamodb: str, store: Store):
    program = """if True:
        import atexit, gc, sys
        from gptdock.__main__ import main
        line = '{"message": "the end", "frozen": %d, "most": %d}'
        atexit.register(lambda: sys.stderr.write(line % (gc.get_freeze_count(), gc.get_threshold()[0])))
        sys.exit(main())"""
    async with starting(tmp_path, environment(dynamodb), (sys.executable, "-c", program)) as running:
        await running.logged("serving")
        running.terminate()

        told = await running.logged("the end")
        assert (told["frozen"] > 10_000, 700 < told["most"] <= 10_000) == (True, True)


async def test_a_descriptor_that_is_not_a_socket_stops_the_start_with_one_line(tmp_path):
    finished = await run("serve", "--fd", "0", cwd=tmp_path, env=environment())

    assert_refused(finished, "socket")


async def test_an_unknown_command_is_rejected(gptdock):
    finished = await gptdock(environment(), "server")

    assert finished.code == 2
    assert "invalid choice: 'server'" in finished.err


async def test_tables_may_be_created_twice(tmp_path, without_tables: str):
    first = await run("tables", cwd=tmp_path, env=environment(without_tables))
    second = await run("tables", cwd=tmp_path, env=environment(without_tables))

    assert first == second == (0, "", "")
    async with serving(tmp_path, environment(without_tables)) as running:
        running.terminate()
        assert await running.ended() == 0


async def test_tables_without_a_dynamodb_fails_with_one_line(gptdock):
    finished = await gptdock(environment(), "tables")

    assert_refused(finished)


async def test_the_environment_wins_over_the_file_in_the_working_directory(tmp_path, dynamodb: str, store: Store):
    in_file = environment(dynamodb) | {"PRE_SHARED_KEY": "key-of-the-file"}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in in_file.items()))

    # An empty value counts as unset, so the file's is used.
    async with (
        serving(tmp_path, {"PRE_SHARED_KEY": KEY, "OPEN_AI_KEY": ""}) as running,
        aiohttp.ClientSession() as session,
    ):
        url = f"{running.url}/v1/client/info?client_id=c1&product_id=p1"
        statuses = []
        for key in (KEY, "key-of-the-file"):
            async with session.get(url, headers={"Authorization": f"Bearer {key}"}) as response:
                statuses.append(response.status)

    assert statuses == [404, 403]


async def test_a_process_without_a_dynamodb_serves_what_it_can(tmp_path, openai: SimulatedOpenAI):
    async with serving(tmp_path, environment(openai=openai.url)) as running, aiohttp.ClientSession() as session:
        async with session.get(f"{running.url}/v1/health") as health:
            pass
        async with session.post(f"{running.url}/v1/ask", json=QUESTION, headers=HEADERS) as ask:
            content = await ask.json()

    assert (health.status, ask.status, content["error"]["code"]) == (200, 503, "ledger_unavailable")
    assert openai.requests == 0


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_stream_that_is_open_at_sigterm_is_served_whole(
    tmp_path, dynamodb: str, store: Store, openai: SimulatedOpenAI, signals: int
):
    openai.script = Script(tokens=20, hold_at=5)
    asked = QUESTION | {"stream": True}
    async with serving(tmp_path, environment(dynamodb, openai.url)) as running, aiohttp.ClientSession() as session:
        async with session.post(f"{running.url}/v1/ask", json=asked, headers=HEADERS) as response:
            begun = await response.content.readany()

            running.terminate()
            await running.logged("draining")
            for _ in range(signals - 1):
                running.terminate()
            openai.release()
            body = begun + await response.read()

        assert await running.ended() == 0
    assert sse_data(body)[-1] == b"[DONE]"
    [receipt] = await read_receipts(store, Account("c1", "p1"))
    assert receipt["tokens"] == openai.journal[0].spent


async def test_a_stream_that_outlasts_the_drain_ends_with_an_error_event(
    tmp_path, dynamodb: str, store: Store, openai: SimulatedOpenAI
):
    openai.script = Script(tokens=20, stall_at=5)
    env = environment(dynamodb, openai.url, DRAIN_SECONDS="0.1")
    async with serving(tmp_path, env) as running, aiohttp.ClientSession() as session:
        async with session.post(f"{running.url}/v1/ask", json=QUESTION | {"stream": True}, headers=HEADERS) as response:
            begun = await response.content.readany()

            running.terminate()
            body = begun + await response.read()

        assert await running.ended() == 0
    assert b'"code":"draining"' in sse_data(body)[-1]
    [receipt] = await read_receipts(store, Account("c1", "p1"))
    assert receipt["source"] == "counted"


async def test_tables_are_protected_unless_that_is_not_wanted(gptdock, without_tables: str):
    async with Store.connected(make_settings(without_tables, NOBODY)) as store:
        found = []
        for arguments in (("tables", "--no-protection"), ("tables",), ("tables",)):
            assert (await gptdock(environment(without_tables), *arguments)).code == 0
            for name in store.tables.values():
                table = await store.call("describe_table", TableName=name)
                backups = await store.call("describe_continuous_backups", TableName=name)
                recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
                status = recovery["PointInTimeRecoveryStatus"]
                found.append((table["Table"]["DeletionProtectionEnabled"], status))

    assert found == [(False, "DISABLED")] * 2 + [(True, "ENABLED")] * 4
