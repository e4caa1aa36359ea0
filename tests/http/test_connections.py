"""Connections of callers: the deadline of their first head, and who is cut."""

import asyncio
import socket
from contextlib import suppress

import pytest

from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.http import server
from gptdock.http.app_keys import SERVICES
from tests.harness.hostile import (
    AUTHORIZED,
    PATIENCE_SECONDS,
    Connection,
    address,
    check_nothing_is_left,
    connect,
    deaf_connection,
    question,
    request,
)
from tests.harness.service import Service

ON_EACH_LOOP = True

HEALTH = request("GET", "/v1/health", headers={})
NOWHERE = request("GET", "/nowhere")


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


async def test_a_caller_who_does_not_read_other_answers_is_cut_too(serve):
    async with serve(write_timeout=0.2, drain_seconds=60) as service:
        with await deaf_connection(service) as deaf:
            await _fill(service, deaf)
            service.stop.set()

            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await service.served
                with pytest.raises(ConnectionResetError):  # the kernel keeps nothing for it
                    await _read_all(deaf)


async def test_a_caller_who_does_not_read_other_answers_cannot_stop_the_drain(serve, monkeypatch):
    monkeypatch.setattr(server, "CUT_SECONDS", 0.1)
    monkeypatch.setattr(server, "CANCEL_SECONDS", 0.1)
    async with serve(write_timeout=600, drain_seconds=0.1) as service:
        with await deaf_connection(service) as deaf:
            await _fill(service, deaf)
            service.stop.set()

            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await service.served


async def _read_all(deaf: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(deaf, 2**20):
        continue


async def _fill(service: Service, deaf: socket.socket) -> None:
    """Send requests until an answer cannot be written any more, since the caller does not read."""
    for _ in range(100):
        await asyncio.get_running_loop().sock_sendall(deaf, request("GET", "/v1/openapi.json") * 10)
        for _ in range(100):
            await asyncio.sleep(0)
        if any(connection.writing_paused for connection in service.app[SERVICES].connections._idle):
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
    """aiohttp stops reading a body that waits, and would not see the end of the connection."""
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
        silent = [await asyncio.open_connection(*address(service)) for _ in range(200)]

        await _check_well(service)

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await asyncio.gather(*(reader.read() for reader, _ in silent)) == [b""] * 200
        for _, writer in silent:
            writer.close()


async def _check_well(service):
    async with service.ask() as response:
        await response.read()
    await check_nothing_is_left(service, service.openai.journal[0].spent)


async def _deadline_of_a_later_connection(service):
    async with connect(service) as silent:
        assert await silent.rest() == b""


async def _drip(connection):
    data = iter(b"GET /v1/health HTTP/1.1\r\nX: " + b"x" * 1000)
    while not connection.reader.at_eof():
        connection.send(bytes([next(data)]))
        await asyncio.sleep(0.02)
