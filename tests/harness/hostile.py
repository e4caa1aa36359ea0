"""Raw TCP on both sides of GPTDock, for tests of faults: callers that send any bytes, upstreams that answer any bytes.

Also: reading an error answer as a `Fault`, and `check_nothing_is_left`, which holds after every fault.
"""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp

from gptdock.accounts import Account
from gptdock.dev.script import Script
from gptdock.ledger.book import Book
from tests.harness import processes
from tests.harness.service import KEY, QUESTION, Service

PATIENCE_SECONDS = 5.0  # half of aiohttp's own timeout, so that a test cannot pass because of that
OF_THE_QUOTA = ("insufficient_quota", "quota_on_hold", "rate_limited")
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


class Fault(NamedTuple):
    """An error answer as the caller sees it: its status, and `code` and `param` of its body."""

    status: int
    code: str
    param: str | None = None


@dataclass
class Connection:
    """A TCP connection to GPTDock. Each read raises TimeoutError after PATIENCE_SECONDS."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def hang_up(self, *, reset: bool) -> None:
        """Close the connection by a reset, or by a FIN; of that the kernel makes a reset if unread bytes are left."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))
        self.writer.transport.abort()

    async def line(self) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.readline()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read the next answer: status, headers with names in lower case, body."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            status_line, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            return int(status_line.split()[1]), headers, body

    async def fault(self) -> Fault:
        """Read the next answer as an error; fails if its form is not that of our errors."""
        return read_fault(*await self.answer())

    async def rest(self) -> bytes:
        """All bytes until GPTDock closes the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.read()


def address(service: Service) -> tuple[str, int]:
    """Where the service listens."""
    host, port = service.url.removeprefix("http://").split(":")
    return host, int(port)


@asynccontextmanager
async def connect(service: Service) -> AsyncIterator[Connection]:
    """A connection to the service, closed at the end."""
    reader, writer = await asyncio.open_connection(*address(service))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def deaf_caller(service: Service, **fields: Any) -> socket.socket:
    """A caller that asks and then does not read; its receive buffer is small."""
    sock = await deaf_connection(service)
    await asyncio.get_running_loop().sock_sendall(sock, request("POST", "/v1/ask", AUTHORIZED, question(**fields)))
    return sock


async def deaf_connection(service: Service) -> socket.socket:
    """A connection that is not read; its receive buffer is small."""
    sock, loop = socket.socket(), asyncio.get_running_loop()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # otherwise the kernel buffers for it
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)  # with loopback's 64 KB segments it buffers megabytes
    sock.setblocking(False)
    await loop.sock_connect(sock, address(service))
    return sock


def request(method: str, path: str, headers: Mapping[str, str] = AUTHORIZED, body: bytes | None = None) -> bytes:
    """A request as bytes, with a Content-Length if it has a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: gptdock", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def question(**fields: Any) -> bytes:
    """The JSON of QUESTION with these fields replaced or added."""
    return json.dumps(QUESTION | fields).encode()


async def fault_of(response: aiohttp.ClientResponse) -> Fault:
    """This answer as an error; fails if its form is not that of our errors."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return read_fault(response.status, headers, await response.read())


def read_fault(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """The error in an answer; fails if its form is not the one that OpenAI's clients read."""
    content = json.loads(body)
    assert headers["content-type"].startswith("application/json")
    assert content.keys() == {"error", "request_id"}
    quota = {"quota_left", "quota_held", "resets_at"} if content["error"]["code"] in OF_THE_QUOTA else set()
    assert content["error"].keys() == {"message", "type", "param", "code"} | quota
    assert content["request_id"] == headers["x-request-id"]
    assert content["error"]["message"]
    return Fault(status, content["error"]["code"], content["error"]["param"])


async def check_nothing_is_left(service: Service, used: int) -> None:
    """Fails unless `used` is charged, nothing is held, no upstream answer is open, and a new question is answered."""
    async with asyncio.timeout(processes.PATIENCE_SECONDS):
        await service.openai.journal.ended(len(service.openai.journal))
    info = await service.info()
    assert (info["quota_held"], info["quota_used"]) == (0, used)
    assert info["quota_left"] == info["max_quota"] - used
    service.openai.script = Script()
    async with service.ask() as response:
        assert response.status == 200
    assert (await service.info())["quota_used"] == used + service.openai.journal[-1].spent


async def start_drain(service: Service) -> None:
    """Tell the service to stop, and wait until it drains, which an idle connection shows by being closed."""
    async with connect(service) as idle:
        idle.send(request("GET", "/v1/health"))
        await idle.answer()
        service.stop.set()
        await idle.rest()


async def final_book(service: Service, account: Account = Account("c1", "p1")) -> Book:  # noqa: B008
    """Wait until the service has stopped, and return the client's book."""
    await service.served
    book = await service.store.read(account, "all")
    assert book is not None
    return book


@asynccontextmanager
async def raw_upstream(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Run an upstream that calls `serve` for each connection, and closes all at the end; yields its base URL."""
    writers = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read the next request: its head and its body, which must have a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head, await reader.readexactly(int(length.partition(b":")[2]))


def bound_socket() -> socket.socket:
    """A socket bound to a free port and not listening, so connections to it are refused."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def url_of(sock: socket.socket) -> str:
    """The base URL of an upstream on this socket's port."""
    return f"http://127.0.0.1:{sock.getsockname()[1]}/v1"


@contextmanager
def unroutable() -> Iterator[socket.socket]:
    """An address whose queue is full, so that connections are neither accepted nor refused."""
    with ExitStack() as sockets:
        sock = sockets.enter_context(bound_socket())
        sock.listen(0)
        for _ in range(3):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(sock.getsockname())
        yield sock
