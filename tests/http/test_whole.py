"""Whole answers on the wire: one that is written at once is the answer that aiohttp would write."""

import asyncio
import json
import re
import socket
from contextlib import suppress
from typing import Any

import pytest

from gptdock.dev.script import Script
from gptdock.http import hidden
from gptdock.http.app_keys import SERVICES
from gptdock.http.whole import Sent
from gptdock.ledger.holds import Hold
from gptdock.telemetry.request_line import RequestLog
from tests.harness.hostile import AUTHORIZED, Connection, connect, deaf_connection, question, request
from tests.harness.processes import PATIENCE_SECONDS

ON_EACH_LOOP = True
KEPT = request("POST", "/v1/ask", AUTHORIZED | {"X-Request-Id": "r1"}, question())
CLOSED = request("POST", "/v1/ask", AUTHORIZED | {"X-Request-Id": "r1", "Connection": "close"}, question())
OLD = KEPT.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nConnection: keep-alive\r\n")
CHUNKED = request("POST", "/v1/ask", AUTHORIZED | {"Transfer-Encoding": "chunked"}) + (
    b"%x\r\n%b\r\n0\r\n\r\n" % (len(question()), question())
)
BEFORE_IT_CHANGES = re.compile("((?:X-Quota-Left|x-ratelimit-remaining-tokens|Date|Content-Length): ).*")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    """The answers that were written at once, from now on."""
    made: list[Sent] = []

    class Noted(Sent):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            made.append(self)

    monkeypatch.setattr("gptdock.http.whole.Sent", Noted)
    return made


async def read_whole(connection: Connection) -> tuple[list[str], dict[str, Any]]:
    """The lines of the head of the next answer, without what differs between any two, and its JSON."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode()
        [length] = re.findall("Content-Length: ([0-9]+)", head)
        content = json.loads(await connection.reader.readexactly(int(length)))
    return [BEFORE_IT_CHANGES.sub(r"\1", line) for line in head.split("\r\n")], content


@pytest.mark.parametrize("period", ["none", "month"])
async def test_an_answer_that_is_written_at_once_has_the_head_that_aiohttp_writes(serve, sent, period):
    async with serve(quota_period=period) as service, connect(service) as connection:
        connection.send(KEPT)
        head, content = await read_whole(connection)
        assert [repr(each) for each in sent] == ["<Sent>"]
        connection.send(CLOSED)
        by_aiohttp, again = await read_whole(connection)
        assert (len(sent), await connection.rest()) == (1, b"")

    by_aiohttp.remove("Connection: close")
    head, by_aiohttp = [[line for line in each if "reset-tokens" not in line] for each in (head, by_aiohttp)]
    assert head == by_aiohttp
    assert content["usage"] == again["usage"]


async def test_a_connection_serves_on_after_answers_that_are_written_at_once(service, sent):
    async with connect(service) as connection:
        connection.send(KEPT * 3)
        for _ in range(3):
            _, content = await read_whole(connection)
            assert content["object"] == "chat.completion"
    assert len(sent) == 3
    assert await service.used() == sum(each.spent for each in service.openai.journal)


@pytest.mark.parametrize(
    ("asked", "length"),
    [(OLD, 20), (CHUNKED, 20), (CLOSED, 20), (KEPT, 20_000)],
    ids=["HTTP/1.0", "in chunks", "the last of its connection", "large"],
)
async def test_what_is_not_simple_is_not_written_at_once(serve, sent, asked, length):
    async with serve(max_completion_tokens=30_000) as service, connect(service) as connection:
        service.openai.script = Script(tokens=length)
        connection.send(asked)
        _, content = await read_whole(connection)
    assert (sent, content["usage"]["completion_tokens"]) == ([], length)


async def test_the_last_answer_of_a_process_that_drains_says_so(service, sent):
    async with connect(service) as connection:
        service.app[SERVICES].connections.draining = True
        connection.send(KEPT)
        head, _ = await read_whole(connection)
        assert await connection.rest() == b""
    assert (sent, "Connection: close" in head) == ([], True)


@pytest.mark.parametrize(
    ("owner", "method"), [(Hold, "settle"), (RequestLog, "answered")], ids=["the charge", "the line of the request"]
)
async def test_nothing_follows_an_answer_whatever_fails_behind_it(service, sent, monkeypatch, owner, method):
    done = getattr(owner, method)

    def fail(*arguments: Any) -> None:
        done(*arguments)
        raise ValueError

    async with connect(service) as connection:
        with monkeypatch.context() as broken:
            broken.setattr(owner, method, fail)
            connection.send(KEPT)
            await read_whole(connection)
            await service.ledger.settled()
        with suppress(ConnectionError):
            connection.send(request("GET", "/v1/health", {"Connection": "close"}))
            assert (await connection.rest()).count(b"HTTP/1.1 500") == 0
    assert len(sent) == 1


async def test_a_connection_that_is_being_closed_is_not_written_to(service, sent, monkeypatch: pytest.MonkeyPatch):
    def close(raw: bytes, secret: str) -> bytes:
        [busy] = service.app[SERVICES].connections._busy
        busy.transport.close()
        return raw

    monkeypatch.setattr(hidden, "answer", close)
    async with connect(service) as connection:
        connection.send(KEPT)
        with pytest.raises(ConnectionResetError):
            await connection.rest()
    assert (sent, len(await service.receipts())) == ([], 1)


async def test_a_caller_who_reads_none_of_its_answers_is_cut_once_they_are_many(serve, sent):
    async with serve(write_timeout=0.3, max_completion_tokens=6000) as service:
        service.openai.script = Script(tokens=4000)
        with await deaf_connection(service) as deaf:
            await asyncio.get_running_loop().sock_sendall(deaf, KEPT * 30)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not deaf.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):  # noqa: ASYNC110  # it has no event
                    await asyncio.sleep(0)
        assert 0 < len(sent) < 30
