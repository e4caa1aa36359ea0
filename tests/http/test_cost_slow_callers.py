"""What answers cost, and teach, whose callers read slowly."""

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gptdock.http.caller import Caller
from gptdock.ledger.rates import UNKNOWN
from tests.harness.answers import DONE, TEXT, read_answer, reported
from tests.harness.hostile import deaf_caller, raw_upstream, read_request
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import Service

EVENT = TEXT.replace(b"}]}", b'}],"obfuscation":"%b"}' % (b"y" * 3000))


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set once a caller does not read on."""
    told, catch_up = asyncio.Event(), Caller.catch_up

    async def catching_up(caller: Caller) -> None:
        if caller._writer is not None and caller.is_behind:
            told.set()
        await catch_up(caller)

    monkeypatch.setattr(Caller, "catch_up", catching_up)
    return told


def writes_until(behind: asyncio.Event, written: list[bytes], end: bytes = b"") -> Callable[..., Any]:
    """An upstream that writes events, little by little, until the caller is behind, and then this end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while not behind.is_set():
            written.append(EVENT)
            writer.write(EVENT)
            await asyncio.sleep(0)
        writer.write(end)
        await reader.read()

    return answer


async def until(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await event.wait()


async def read_all(sock: socket.socket, end: bytes) -> None:
    body = b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not body.endswith(end):
            body = body[-len(end) :] + await asyncio.get_running_loop().sock_recv(sock, 2**20)


async def test_a_caller_who_reads_slowly_teaches_nothing_of_a_model_s_rate(
    serve, upstream_clock: SimpleNamespace, behind: asyncio.Event
):
    """Otherwise it could make thoughts cheap that are cut."""
    upstream = writes_until(behind, [], reported(5, 900, 905) + DONE)
    async with raw_upstream(upstream) as url, serve(openai_base_url=url) as service:
        rate = service.ledger.rate("gpt-4o-mini", stream=True)
        with await deaf_caller(service, stream=True) as slow:
            await until(behind)
            upstream_clock.now += 100
            await read_all(slow, b"\r\n0\r\n\r\n")
        [receipt] = await service.receipts()
        assert (receipt["tokens"], len(rate._last)) == (905, 0)

        assert (await read_answer(service, stream=True)).endswith(DONE)
        await service.ledger.settled()
        assert len(rate._last) == 1, "a caller who reads teaches"


@pytest.mark.parametrize("model", ["gpt-4o-mini", "o4-mini"])
async def test_what_is_generated_while_a_caller_does_not_read_costs_its_time(
    serve, upstream_clock: SimpleNamespace, behind: asyncio.Event, model: str
):
    """It waits in buffers of the system, which nobody reads once the caller has left."""
    written: list[bytes] = []
    async with (
        raw_upstream(writes_until(behind, written)) as url,
        serve(openai_base_url=url, openai_model=model, max_completion_tokens=20_000) as service,
    ):
        with await deaf_caller(service, stream=True):
            await until(behind)
            upstream_clock.now += 50
        [receipt] = await first_receipts(service)
    assert len(written) < 50 * UNKNOWN <= receipt["completion_tokens"]


async def first_receipts(service: Service) -> list[dict[str, Any]]:
    """The receipts, once there are any."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (receipts := await service.receipts()):
            pass
    return receipts
