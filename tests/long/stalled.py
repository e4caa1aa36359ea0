"""Measures what callers that stop reading cost: GPTDock's memory, and delays in the answers of good callers.

`python -m tests.long.stalled 500 50`: 500 stalled callers and 50 good ones, which are measured alone first. The
upstream, the stalled and the good callers have their own processes, so that GPTDock's process does nothing else. The
stalled callers start slowly and are answered slowly, so that their load itself does not delay the good ones.
"""

import asyncio
import json
import os
import select
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from aiohttp import web

from tests.harness.processes import Running, end, environment, serving
from tests.harness.service import KEY, QUESTION, serve_tables

EVENTS_PER_SECOND = 20
GOOD_SECONDS = 85
ALONE_SECONDS = 10.0
AFTER_SECONDS = 5.0
ASKING_SECONDS = 20.0  # in which the stalled callers ask, one after the other
WRITE_TIMEOUT = 25  # longer than ASKING_SECONDS, so that all are stalled at the same time for a while
PHASES = ("alone", "while the others ask", "while they stall, until all are cut", "after")
HEADERS = {"Authorization": f"Bearer {KEY}"}


# --- the upstream


async def _upstream() -> None:
    """Answers stalled callers without end, with 64 KB/s until writes block, good ones with 20 events a second."""
    application = web.Application()
    application.router.add_post("/v1/chat/completions", _complete)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


async def _complete(request: web.Request) -> web.StreamResponse:
    asked = (await request.json())["messages"][-1]["content"]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    if asked == "stalled":
        while True:
            # OpenAI pads events, too. Padding is not text, which GPTDock would keep until it is counted.
            await response.write(_event({"choices": [_choice("a")], "obfuscation": "x" * 32_000}))
            await asyncio.sleep(0.5)
    await _pace(response)
    usage = {"total_tokens": 1, "prompt_tokens": 1, "completion_tokens": 0}
    await response.write(_event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
    return response


async def _pace(response: web.StreamResponse) -> None:
    begun = time.monotonic()
    for number in range(GOOD_SECONDS * EVENTS_PER_SECOND):
        await asyncio.sleep(begun + number / EVENTS_PER_SECOND - time.monotonic())
        await response.write(_event({"choices": [_choice(" word")]}))


def _choice(text: str) -> dict[str, object]:
    return {"index": 0, "delta": {"content": text}}


def _event(chunk: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


# --- callers


def _body(client_id: str) -> dict[str, object]:
    return QUESTION | {"question": client_id, "client_id": client_id, "stream": True}


async def _good(url: str, count: int) -> None:
    """Print a line when all are streaming; at the end print the number of whole answers, time and gap of each event."""
    gaps: list[tuple[float, float]] = []
    begun = asyncio.Semaphore(0)

    async def read(session: aiohttp.ClientSession) -> bool:
        async with session.post(f"{url}/v1/ask", json=_body("good")) as response:
            last, line = time.monotonic(), b""
            begun.release()
            while line != b"data: [DONE]\n" and (line := await response.content.readline()):
                if line != b"\n":
                    now = time.monotonic()
                    gaps.append((now, now - last))
                    last = now
            return line == b"data: [DONE]\n"

    async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=0)) as session:
        reading = asyncio.gather(*(read(session) for _ in range(count)))
        for _ in range(count):
            await begun.acquire()
        print("streaming", flush=True)
        print(json.dumps({"whole": sum(await reading), "gaps": gaps}), flush=True)


def _stalled(url: str, count: int) -> None:
    """Ask and never read; print a line when all have asked, and at the end how long each connection lasted."""
    body = json.dumps(_body("stalled")).encode()
    head = f"POST /v1/ask HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    host, port = url.removeprefix("http://").split(":")
    cuts, asked = select.poll(), {}
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # otherwise the kernel buffers for it
        # As over a network. With loopback's 64 KB segments the kernel buffers megabytes for a caller.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        sock.connect((host, int(port)))
        sock.sendall(head.encode() + body)
        asked[sock.fileno()] = sock, time.monotonic()
        cuts.register(sock, select.POLLRDHUP)
        time.sleep(ASKING_SECONDS / count)
    print("asked", flush=True)
    lasted = []
    while asked:
        for fd, _ in cuts.poll():
            cuts.unregister(fd)
            sock, asked_at = asked.pop(fd)
            assert (start := sock.recv(12)) == b"HTTP/1.1 200", start
            lasted.append(time.monotonic() - asked_at)
    print(json.dumps(lasted), flush=True)


# --- the measurement


@asynccontextmanager
async def _role(*arguments: object) -> AsyncIterator[Process]:
    command = [sys.executable, "-m", "tests.long.stalled", *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, limit=2**26)
    try:
        yield process
    finally:
        await end(process)


async def _line(process: Process) -> str:
    assert process.stdout
    return (await process.stdout.readline()).decode().strip()


async def _measure(stalled: int, good: int) -> None:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(_role("upstream"))
        gptdock = await stack.enter_async_context(_gptdock(await _line(upstream)))
        rss = {"idle": _rss(gptdock)}
        reading = await stack.enter_async_context(_role("good", gptdock.url, good))
        assert await _line(reading) == "streaming"
        await asyncio.sleep(ALONE_SECONDS)
        rss["before"], begun_at = _rss(gptdock), time.monotonic()
        asking = await stack.enter_async_context(_role("stalled", gptdock.url, stalled))
        assert await _line(asking) == "asked"
        asked_at = time.monotonic()
        cut = asyncio.create_task(_line(asking))
        rss["during"] = await _peak(gptdock, cut)
        cut_at = time.monotonic()
        await asyncio.sleep(AFTER_SECONDS)
        rss["after"] = _rss(gptdock)
        _print_callers(json.loads(await cut), json.loads(await _line(reading)), (begun_at, asked_at, cut_at))
        print("RSS in MB:", ", ".join(f"{when} {size:.0f}" for when, size in rss.items()))
        for client in ("good", "stalled"):
            print(f"{client}: {await _info(gptdock, client)}")


@asynccontextmanager
async def _gptdock(openai: str) -> AsyncIterator[Running]:
    with TemporaryDirectory() as folder:
        async with serve_tables() as dynamodb:
            settings = {"WRITE_TIMEOUT": str(WRITE_TIMEOUT), "RESERVE_TIMEOUT": "20", "DEFAULT_TOKEN_QUOTA": "10000000"}
            async with serving(Path(folder), environment(dynamodb, openai, **settings)) as running:
                logs = asyncio.create_task(_discard_logs(running))
                try:
                    yield running
                finally:
                    logs.cancel()
                    await asyncio.gather(logs, return_exceptions=True)


async def _discard_logs(running: Running) -> None:
    assert running.process.stderr
    while await running.process.stderr.read(2**16):
        continue


def _rss(running: Running) -> float:
    return int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _peak(running: Running, until: "asyncio.Task[str]") -> float:
    peak = 0.0
    while not until.done():
        peak = max(peak, _rss(running))
        await asyncio.wait([until], timeout=0.2)
    return peak


def _print_callers(lasted: list[float], good: dict[str, Any], moments: tuple[float, float, float]) -> None:
    print(f"stalled: {len(lasted)} cut, {min(lasted):.1f} to {max(lasted):.1f} s after they asked")
    print(f"good: {good['whole']} whole; gaps between events in ms:")
    p99s = []
    for name, begin, finish in zip(PHASES, (0.0, *moments), (*moments, inf), strict=True):
        among = [gap * 1000 for at, gap in good["gaps"] if begin <= at < finish]
        p99s.append(quantiles(among, n=100)[98])
        print(f"  {name}: p50 {median(among):.1f}, p99 {p99s[-1]:.1f}, max {max(among):.1f} of {len(among)}")
    print("p99 against alone:", ", ".join(f"{p99 / p99s[0]:.2f}" for p99 in p99s[1:]))


async def _info(running: Running, client: str) -> str:
    url = f"{running.url}/v1/client/info?client_id={client}&product_id={QUESTION['product_id']}"
    async with aiohttp.ClientSession(headers=HEADERS) as session, session.get(url) as response:
        content = await response.json()
        return f"used {content['quota_used']}, held {content['quota_held']}"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["upstream"]:
            asyncio.run(_upstream())
        case ["good", url, count]:
            asyncio.run(_good(url, int(count)))
        case ["stalled", url, count]:
            _stalled(url, int(count))
        case [stalled, good]:
            asyncio.run(_measure(int(stalled), int(good)))
