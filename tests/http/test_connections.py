"""Connections of callers: the deadline of their first head, and what a drain does to each."""

import asyncio
import socket
from contextlib import suppress

import pytest

from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.http import connections, server
from gptdock.http.app_keys import CONNECTIONS
from tests.harness.hostile import (
    AUTHORIZED,
    PATIENCE_SECONDS,
    Connection,
    Fault,
    check_nothing_is_left,
    connect,
    deaf_connection,
    question,
    read_fault,
    request,
    start_drain,
)
from tests.harness.service import Service, sse_data

HEALTH = request("GET", "/v1/health", headers={})
NOWHERE = request("GET", "/nowhere")


# --- deadlines


@pytest.mark.parametrize("data", [b"", b"GET /v1/heal", HEALTH[:-2]], ids=["silent", "half a line", "half a head"])
async def test_a_connection_that_sends_no_head_is_closed_at_the_deadline(serve, data):
    async with serve(head_timeout=0.2) as service, connect(service) as connection:
        connection.send(data)

        assert await connection.rest() == b""


async def test_a_head_that_drips_is_closed_at_the_deadline(serve):
    async with serve(head_timeout=0.2) as service, connect(service) as connection:
        dripping = asyncio.create_task(_drip(connection))

        assert await connection.rest() == b""

        await dripping


async def test_a_kept_connection_outlives_the_deadline_of_heads(serve, caplog):
    async with serve(head_timeout=0.2) as service, connect(service) as kept:
        kept.send(HEALTH)
        await kept.answer()
        await _deadline_of_a_later_connection(service)
        kept.send(HEALTH)

        status, _, _ = await kept.answer()

    assert status == 200
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_a_first_request_may_take_longer_than_its_head(serve):
    async with serve(head_timeout=0.2) as service, connect(service) as connection:
        service.openai.script = Script(hold_at=BEFORE_HEAD)
        connection.send(request("POST", "/v1/ask", AUTHORIZED, question()))
        await service.openai.journal.arrived()
        await _deadline_of_a_later_connection(service)
        service.openai.release()

        status, _, _ = await connection.answer()

    assert status == 200


async def test_an_idle_kept_connection_is_closed_at_its_own_deadline(serve):
    async with serve(keepalive_timeout=0.2, head_timeout=60) as service, connect(service) as connection:
        connection.send(HEALTH)
        await connection.answer()

        assert await connection.rest() == b""


async def test_pipelined_requests_are_answered_in_order(service):
    async with connect(service) as connection:
        connection.send(HEALTH + NOWHERE + HEALTH)

        statuses = [(await connection.answer())[0] for _ in range(3)]

    assert statuses == [200, 404, 200]


async def test_an_answer_to_http_1_0_ends_with_its_connection(service):
    asked = request("POST", "/v1/ask", AUTHORIZED | {"Connection": "keep-alive"}, question(stream=True))
    async with connect(service) as connection:
        connection.send(asked.replace(b"HTTP/1.1", b"HTTP/1.0"))

        assert (await connection.rest()).endswith(b"data: [DONE]\n\n")


async def test_a_caller_who_does_not_read_what_is_no_completion_is_cut_too(serve):
    async with serve(write_timeout=0.2, drain_seconds=60) as service:
        with await deaf_connection(service) as deaf:
            await _fill(service, deaf)
            service.stop.set()

            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await service.served
                with pytest.raises(ConnectionResetError):  # the kernel keeps nothing for it
                    await _read_all(deaf)


async def _read_all(deaf: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(deaf, 2**20):
        continue


async def _fill(service: Service, deaf: socket.socket) -> None:
    """Demand until an answer cannot be written any more, as nobody reads."""
    for _ in range(100):
        await asyncio.get_running_loop().sock_sendall(deaf, request("GET", "/v1/openapi.json") * 10)
        for _ in range(100):
            await asyncio.sleep(0)
        if any(connection.writing_paused for connection in service.app[CONNECTIONS]._idle):
            return
    raise AssertionError("everything could be written")


@pytest.mark.parametrize("count", [31, 32])
async def test_more_than_31_requests_that_wait_end_their_connection(service, count):
    async with connect(service) as connection:
        connection.send(HEALTH * count)

        answers = [await connection.answer() for _ in range(count)] if count < 32 else await _nothing(connection)

    assert [status for status, *_ in answers] == [200] * (count if count < 32 else 0)


async def _nothing(connection: Connection) -> list[tuple[int, dict[str, str], bytes]]:
    with suppress(ConnectionResetError):
        assert await connection.rest() == b""
    return []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reset", [True, False])
async def test_a_caller_who_pipelines_much_and_leaves_is_noticed(service, stream, reset):
    service.openai.script = Script(tokens=50, stall_at=9)
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED, question(stream=stream)))
        await service.openai.journal.sent(9)
        connection.send(HEALTH * 2000)
        connection.hang_up(reset=reset)

        async with asyncio.timeout(PATIENCE_SECONDS):
            await service.openai.journal.left()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_whose_next_body_waits_and_who_leaves_is_noticed(serve, stream, reset):
    """aiohttp stops reading what nobody reads on, and would not see the end of the connection."""
    async with serve(max_body_bytes=4_000_000) as service, connect(service) as connection:
        service.openai.script = Script(tokens=50, stall_at=9)
        connection.send(request("POST", "/v1/ask", AUTHORIZED, question(stream=stream)))
        await service.openai.journal.sent(9)
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Length": "2500000"}) + b"x" * 700_000)
        connection.hang_up(reset=reset)

        async with asyncio.timeout(PATIENCE_SECONDS):
            await service.openai.journal.left()


async def test_many_silent_connections_keep_nobody_waiting(serve):
    async with serve(head_timeout=0.5) as service:
        silent = [await asyncio.open_connection(*_address(service)) for _ in range(200)]

        await _check_well(service)

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await asyncio.gather(*(reader.read() for reader, _ in silent)) == [b""] * 200
        for _, writer in silent:
            writer.close()


async def _check_well(service):
    async with service.ask() as response:
        await response.read()
    await check_nothing_is_left(service, service.openai.journal[0].spent)


# --- drain


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
async def test_an_answer_of_a_process_that_drains_says_that_it_is_the_connection_s_last(service, fields):
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


async def test_when_the_drain_began_nobody_new_is_accepted(service):
    await start_drain(service)

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*_address(service))


async def _deadline_of_a_later_connection(service):
    async with connect(service) as silent:
        assert await silent.rest() == b""


async def _drip(connection):
    data = iter(b"GET /v1/health HTTP/1.1\r\nX: " + b"x" * 1000)
    while not connection.reader.at_eof():
        connection.send(bytes([next(data)]))
        await asyncio.sleep(0.02)


def _address(service):
    host, port = service.url.removeprefix("http://").split(":")
    return host, int(port)
