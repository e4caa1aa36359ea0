"""The servers that are measured, GPTDock and the relay, and what they stand between: upstream, store and load.

Both get a listening socket, so that a first request waits in it for them. Over TLS they trust the run's certificate by
SSL_CERT_FILE, which aiohttp's own context reads.
"""

import asyncio
import itertools
import json
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.long.bench import certificate, processes
from tests.long.bench.load import Load, Question, Tally
from tests.long.bench.store import Calls, Store
from tests.long.bench.upstream import PROMPT_TOKENS, Completions, Pace

ROOT = Path(__file__).parents[3]
CLIENTS = 1000  # of the route `many`
FIRST_ANSWER_SECONDS = 60.0
SYSTEM = "You are an assistant. Answer in markdown, briefly, and say so when you do not know."
USER = "How does a client with a token quota pay for a stream that it stops half way?"
KEY = "bench-key"
SETTINGS = {
    "OPEN_AI_KEY": "sk-bench",
    "PRE_SHARED_KEY": KEY,
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "DEFAULT_TOKEN_QUOTA": "900000000",
    "MAX_COMPLETION_TOKENS": "100000",
    "MAX_STREAMS": "20000",
    "OPS_PORT": "0",
}


@dataclass(frozen=True, slots=True)
class System:
    """A server that can be measured; without `tree`, the folder that GPTDock's package is in, it is the relay."""

    name: str
    tree: Path | None = None

    def command(self, fd: int, upstream: str) -> list[str]:
        """What starts it."""
        if self.tree is None:
            return [sys.executable, "-m", "tests.long.bench.relay", str(fd), upstream]
        return [str(Path(sys.executable).parent / "gptdock"), "serve", "--fd", str(fd)]

    def environment(self, upstream: str, dynamodb: str) -> dict[str, str]:
        """What it is told; the package of the tree comes before the one that is installed."""
        if self.tree is None:
            return {"PYTHONPATH": str(ROOT)}
        here = {"OPENAI_BASE_URL": upstream, "AWS_ENDPOINT_URL_DYNAMODB": dynamodb, "PYTHONPATH": str(self.tree)}
        return SETTINGS | here

    def questions(self, route: str, pace: Pace, *, stream: bool) -> Iterator[Question]:
        """Requests without end: of one client by `hot`, of one by the OpenAI route, of CLIENTS in turn by `many`."""
        head, body = self._request(route, pace, stream)
        template = b"%b\r\nContent-Length: %d\r\n\r\n%b" % (head.encode(), len(body), body)
        for number in itertools.count():
            raw = template.replace(b"NUMBER", b"%06d" % (number % CLIENTS))
            yield Question(raw, pace.tokens if stream else 0)

    def _request(self, route: str, pace: Pace, stream: bool) -> tuple[str, bytes]:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"{USER} {pace}"}]
        body: dict[str, Any] = {"model": "gpt-4o-mini", "messages": messages, "stream": stream}
        path, headers = "/v1/chat/completions", f"Authorization: Bearer {KEY}\r\nContent-Type: application/json"
        if self.tree is None:
            body |= {"stream_options": {"include_usage": True}} if stream else {}
        elif route == "openai":
            headers += "\r\nX-Client-Id: hot\r\nX-Product-Id: p1"
        else:
            client = "NUMBER" if route == "many" else "hot"
            path, who = "/v1/ask", {"user_id": "uNUMBER", "client_id": client, "product_id": "p1"}
            body = who | {"history": messages[:1], "question": messages[1]["content"], "stream": stream}
        return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}", json.dumps(body).encode()


@dataclass
class Server:
    """A server that has answered its first request."""

    system: System
    port: int
    process: Process
    store: Store
    start_seconds: float = 0
    _asked: list[tuple[Pace, Tally]] = field(default_factory=list)

    def load(self, route: str, pace: Pace, *, stream: bool) -> Load:
        """What is to be asked of it."""
        load = Load(self.port, self.system.questions(route, pace, stream=stream))
        self._asked.append((pace, load.tally))
        return load

    def charged(self) -> int | None:
        """The tokens that all answers had, as the books must say once it ended; None if one was not whole."""
        if any(tally.faults() or tally.hung_up for _, tally in self._asked):
            return None
        return sum(tally.answered * (PROMPT_TOKENS + pace.tokens) for pace, tally in self._asked)

    def cpu_seconds(self) -> float:
        """What it used so far."""
        return processes.cpu_seconds(self.process.pid)

    def others_cpu_seconds(self) -> float:
        """What other programs used of its core so far."""
        return processes.others_cpu_seconds(self.process.pid)

    def rss_kib(self) -> float:
        """The memory that it has now."""
        return processes.rss_bytes(self.process.pid) / 1024


class Fault(Exception):
    """A server could not be measured at all; says why."""


@dataclass
class World:
    """What the servers stand between; one of them at a time is started in it."""

    folder: Path
    upstream: str
    upstream_tls: str
    dynamodb: str
    certificate: Path
    store: Store = field(default_factory=Store)

    @asynccontextmanager
    async def serving(self, system: System, *, tls: bool = False) -> AsyncIterator[Server]:
        """The server, once it has answered. Raises Fault if it does not."""
        upstream = self.upstream_tls if tls else self.upstream
        env = system.environment(upstream, self.dynamodb) | {"SSL_CERT_FILE": str(self.certificate)}
        log, begun_at = self.folder / "log", time.monotonic()
        async with AsyncExitStack() as stack:
            with socket.create_server(("127.0.0.1", 0), backlog=4096) as sock:
                port, command = sock.getsockname()[1], system.command(sock.fileno(), upstream)
                process = await stack.enter_async_context(processes.started(command, env, sock.fileno(), log))
            server = Server(system, port, process, self.store)
            await _first_answer(server, log)
            server.start_seconds = time.monotonic() - begun_at
            yield server
        self._check_books(server)

    def _check_books(self, server: Server) -> None:
        """GPTDock drained, so nothing is held, and everything is charged."""
        books = [{name: int(book[name]["N"]) for name in ("max", "left", "used")} for book in self.store.books()]
        if any(book["left"] + book["used"] != book["max"] for book in books):
            self.store.faults["tokens on hold at the end"] += 1
        charged = server.charged()
        if server.system.tree is not None and charged not in (None, sum(book["used"] for book in books)):
            self.store.faults["other tokens charged than used"] += 1
        self.store.clear()


async def _first_answer(server: Server, log: Path) -> None:
    load = server.load("hot", Pace(100), stream=False)
    async with load.streams(1, 1):
        await load.over(FIRST_ANSWER_SECONDS, 1)
    if load.tally.answered != 1:
        raise Fault(f"{server.system.name} did not answer: {load.tally.faults()}\n{_last_lines(log)}")


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """Upstream and store, on free ports of loopback."""
    store, pem = Store(), certificate.make(folder)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(_listening(Completions))
        secure = await stack.enter_async_context(_listening(Completions, ssl=certificate.context(pem)))
        dynamodb = await stack.enter_async_context(_listening(partial(Calls, store)))
        yield World(folder, f"http://{upstream}/v1", f"https://{secure}/v1", f"http://{dynamodb}", pem, store)


@asynccontextmanager
async def _listening(protocol: Any, **options: Any) -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=4096, **options)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
