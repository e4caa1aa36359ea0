"""How much memory one caller or one answer can make the process use: its peak, as counted by the kernel."""

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from gptdock.accounts import Account
from gptdock.ledger.store import Store
from tests.harness.hostile import AUTHORIZED, raw_upstream, read_request, request
from tests.harness.processes import PATIENCE_SECONDS, Running, environment, serving
from tests.harness.service import KEY, QUESTION

MIB = 2**20
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
EVENTS = 1_000_000


@pytest.mark.parametrize(
    ("headers", "piece"),
    [
        ({"Transfer-Encoding": "chunked"}, b"10000\r\n%b\r\n" % (b" " * 0x10000)),
        ({"Content-Length": str(256 * MIB)}, b" " * 0x10000),
        ({"Content-Length": "100"}, b" " * 0x10000),
    ],
    ids=["chunked", "long", "lying"],
)
async def test_a_body_over_the_cap_takes_no_memory(tmp_path: Path, dynamodb: str, store: Store, headers, piece):
    async with serving(tmp_path, environment(dynamodb)) as running:
        before, port = peak(running), int(running.url.rpartition(":")[2])

        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("POST", "/v1/ask", AUTHORIZED | headers))
        with suppress(ConnectionError):  # GPTDock closes the connection early
            async with asyncio.timeout(PATIENCE_SECONDS):
                for _ in range(64 * MIB // 0x10000):
                    writer.write(piece)
                    await writer.drain()
        writer.close()

        assert (await health(running)) == 200
        assert peak(running) - before < 4 * MIB


async def test_a_million_tiny_events_are_relayed_and_not_kept(tmp_path: Path, dynamodb: str, store: Store):
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for _ in range(EVENTS // 1000):
            writer.write(EVENT * 1000)
            await writer.drain()
        writer.write(b'data: {"choices":[],"usage":{"total_tokens":7}}\n\ndata: [DONE]\n\n')
        writer.close()

    limits = {"MAX_COMPLETION_TOKENS": str(EVENTS), "DEFAULT_TOKEN_QUOTA": str(2 * EVENTS)}
    async with raw_upstream(answer) as url, serving(tmp_path, environment(dynamodb, url, **limits)) as running:
        before, lines = peak(running), 0
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
            session.post(f"{running.url}/v1/ask", json=QUESTION | {"stream": True}) as response,
        ):
            async for piece in response.content.iter_any():
                lines += piece.count(b"\n")
        await running.logged("request ended")
        grown = peak(running) - before

        running.terminate()
        assert await running.ended() == 0
    book = await store.read(Account("c1", "p1"), "all")
    assert book
    assert (lines, book.used) == (2 * (EVENTS + 1), 7)  # the last is [DONE]
    assert grown < 16 * MIB  # 46 MiB came


def peak(running: Running) -> int:
    """The peak of the process's resident memory, in bytes."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


async def health(running: Running) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{running.url}/v1/health") as response:
        return response.status
