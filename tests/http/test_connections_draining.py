"""What a drain does to each connection."""

import asyncio
import socket
from contextlib import suppress

import pytest

from gptdock.dev.script import Script
from gptdock.http import connections, server
from tests.harness.hostile import (
    AUTHORIZED,
    PATIENCE_SECONDS,
    Fault,
    address,
    connect,
    question,
    read_fault,
    request,
    start_drain,
)
from tests.harness.service import sse_data

HEALTH = request("GET", "/v1/health", headers={})
NOWHERE = request("GET", "/nowhere")


async def test_an_idle_kept_connection_closes_at_once_when_the_drain_begins(serve):
    async with serve(drain_seconds=60) as service, connect(service) as idle:
        service.openai.script = Script(hold_at=3)
        async with service.ask(stream=True) as response:
            await service.openai.journal.sent(3)
            idle.send(HEALTH)
            await idle.answer()

            service.stop.set()

            assert await idle.rest() == b""
            assert not service.served.done()
            service.openai.release()
            assert sse_data(await response.read())[-1] == b"[DONE]"


@pytest.mark.parametrize("ticks", range(6))
async def test_a_request_that_crosses_the_drain_on_a_kept_connection_is_told(service, ticks):
    async with connect(service) as kept:
        kept.send(HEALTH)
        await kept.answer()

        kept.send(request("POST", "/v1/ask", AUTHORIZED, question()))
        for _ in range(ticks):
            await asyncio.sleep(0)
        service.stop.set()

        status, headers, body = await kept.answer()
        assert await kept.rest() == b""
    if status != 200:  # as it is for one that came just before
        assert (read_fault(status, headers, body), headers["retry-after"]) == (Fault(503, "draining"), "1")
    assert service.openai.requests == (status == 200)


async def test_a_request_that_comes_with_the_signal_is_told_that_this_process_drains(service):
    async with connect(service) as kept:
        kept.send(HEALTH)
        await kept.answer()

        kept.send(request("POST", "/v1/ask", AUTHORIZED, question()))
        service.stop.set()

        assert await kept.fault() == Fault(503, "draining")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_fresh_connection_has_its_first_request_served_and_is_closed(service, stream):
    async with connect(service) as fresh:
        await start_drain(service)

        fresh.send(request("POST", "/v1/ask", AUTHORIZED, question(stream=stream)))

        answer = await fresh.rest()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert (b"data: [DONE]\n\n" if stream else b'"total_tokens"') in answer


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"question": ""}], ids=["whole", "stream", "error"])
async def test_an_answer_during_a_drain_says_that_it_is_the_last_of_its_connection(service, fields):
    async with connect(service) as fresh:
        await start_drain(service)

        fresh.send(request("POST", "/v1/ask", AUTHORIZED, question(**fields)))

        head, _, _ = (await fresh.rest()).lower().partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head


@pytest.mark.parametrize(("before", "after"), [*((turns, 0) for turns in range(5)), *((0, 1 + n) for n in range(4))])
async def test_a_connection_that_comes_with_the_signal_is_served_or_refused(service, before, after):
    """Never accepted and forgotten: its caller would wait for an answer until this process is gone."""
    host, port = service.url.removeprefix("http://").split(":")
    if after:
        service.stop.set()
    for _ in range(after):
        await asyncio.sleep(0)
    with suppress(ConnectionRefusedError, ConnectionResetError), socket.create_connection((host, int(port))) as sock:
        sock.send(HEALTH)
        sock.setblocking(False)
        for _ in range(before):
            await asyncio.sleep(0)
        service.stop.set()
        assert await service.served

        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


async def test_a_fresh_connection_s_answer_is_cut_with_all_others(serve, monkeypatch):
    monkeypatch.setattr(connections, "FRESH_SECONDS", 0.3)
    monkeypatch.setattr(server, "SETTLE_SECONDS", 3)
    async with serve(drain_seconds=1) as service, connect(service) as fresh:
        service.openai.script = Script(stall_at=3)
        await start_drain(service)
        fresh.send(request("POST", "/v1/ask", AUTHORIZED, question(stream=True)))

        answer = await fresh.rest()

        assert b'"draining"' in answer  # as an event, or on a busy machine before the first one
        assert await service.served is True


async def test_a_fresh_connection_s_long_answer_is_waited_for(serve, monkeypatch):
    monkeypatch.setattr(connections, "FRESH_SECONDS", 0.2)
    async with serve(drain_seconds=60) as service, connect(service) as fresh, connect(service) as silent:
        service.openai.script = Script(hold_at=3)
        await start_drain(service)
        fresh.send(request("POST", "/v1/ask", AUTHORIZED, question(stream=True)))
        await service.openai.journal.sent(3)
        assert await silent.rest() == b""  # so long a fresh connection may be silent

        service.openai.release()

        assert b"data: [DONE]\n\n" in await fresh.rest()
        assert await service.served


async def test_a_second_request_on_a_fresh_connection_is_not_served(service):
    async with connect(service) as fresh:
        await start_drain(service)

        fresh.send(NOWHERE + NOWHERE)

        assert (await fresh.rest()).count(b"HTTP/1.1 ") == 1


async def test_a_fresh_connection_that_stays_silent_is_closed_soon(serve, monkeypatch):
    monkeypatch.setattr(connections, "FRESH_SECONDS", 0.05)
    async with serve(drain_seconds=60) as service, connect(service) as fresh:
        await start_drain(service)

        assert await fresh.rest() == b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await service.served


async def test_a_connection_that_left_without_a_request_is_not_waited_for(serve, monkeypatch):
    """A load balancer that looks whether the port is open does this all day."""
    monkeypatch.setattr(connections, "FRESH_SECONDS", 60)
    async with serve() as service:
        async with connect(service):
            pass

        await start_drain(service)

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await service.served


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "second"])
async def test_a_request_whose_body_is_under_way_when_the_drain_begins_is_served(serve, is_first):
    async with serve(body_timeout=1, drain_seconds=60) as service, connect(service) as connection:
        if not is_first:
            connection.send(HEALTH)
            await connection.answer()
        body = question()
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Expect": "100-continue"}, body).removesuffix(body))
        assert await connection.line() + await connection.line() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await start_drain(service)

        connection.send(body)

        status, _, _ = await connection.answer()
        assert status == 200


async def test_a_new_connection_is_refused_once_the_drain_began(service):
    await start_drain(service)

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address(service))
