"""Sends POST requests to one server over kept connections, for `dynamo`: a client of HTTP/1.1 and no more.

aiohttp's client costs 60 us more a call, an eighth of a whole request to GPTDock; hence this one. Its rules:

- A request is sent once. Every fault is raised, and nothing here sends the request again, not even when the server
  closed a kept connection at that moment.
- A connection serves one request at a time, and the next one only after a whole answer with nothing behind it. A
  call that is cancelled or times out aborts it: what arrives on it later must not be taken for another answer.
- A kept connection on which something came unasked, bytes or the server's end, is not used again.
- A request that waits for one of CONNECTIONS, and for a new one to be made, gives up after WAIT_SECONDS; so it does
  READ_SECONDS after it was sent, without a whole answer. To one that finds a kept connection only the latter applies.
- A connection is free when its answer was read, not when the one who asked takes it, a turn of the event loop later.
  So it serves a request in each turn. A turn of a busy process takes 100 ms: 256 connections do 2,560 calls a second
  then, and 1,280 with a server that takes 200 ms. Each costs 1 ms of CPU to make by TLS, and 60 KB; few are idle.
"""

import asyncio
import select
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Self, cast
from urllib.parse import urlsplit

from gptdock.ledger import patience
from gptdock.ledger.http_answer import Answer, BrokenAnswer, Reading, reading, whole

CONNECTIONS = 256
CONNECT_SECONDS = 1.0  # TLS included
WAIT_SECONDS = 2.0
READ_SECONDS = 2.0
IDLE_SECONDS = 12.0  # as in aiobotocore: less than servers wait before they close


# Named as botocore's are, so that logs read the same over either client.
class EndpointConnectionError(Exception):
    """Nothing listens at this address, or the name has no address."""


class ConnectTimeoutError(Exception):
    """No connection within CONNECT_SECONDS, or none of CONNECTIONS was free within WAIT_SECONDS."""


class SSLError(Exception):
    """TLS failed, or the certificate is not trusted."""


class ReadTimeoutError(Exception):
    """No whole answer within READ_SECONDS."""


class ConnectionClosedError(Exception):
    """The connection ended before the answer."""


class Server(NamedTuple):
    """Where to connect; with a context, by TLS."""

    host: str
    port: int
    header: str  # what the header Host says
    tls: ssl.SSLContext | None

    @classmethod
    def at(cls, url: str, tls: ssl.SSLContext | None) -> Self:
        """The server of a URL."""
        parts, default = urlsplit(url), 443 if tls else 80
        host, port = parts.hostname or "", parts.port or default
        shown = f"[{host}]" if ":" in host else host
        return cls(host, port, shown if port == default else f"{shown}:{port}", tls)


class Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self, freed: Callable[["Wire | None"], None]) -> None:
        self._freed = freed  # called with itself, or None if it ended, when it serves no request any more
        self._answer: asyncio.Future[Answer] | None = None  # only while one is asked for
        self._reading: Reading | None = None  # once a part of it came
        self._unasked = select.poll()
        self._loop = asyncio.get_running_loop()  # once: until Python 3.12, each look at it asks the kernel
        self._timer: asyncio.TimerHandle
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self._transport = cast(asyncio.Transport, transport)
        self._unasked.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.abort = self._transport.abort

    @property
    def usable(self) -> bool:
        """Whether nothing came since the last answer; asks the kernel, too, for what the loop has not read yet."""
        return not self._transport.is_closing() and not self._unasked.poll(0)

    async def ask(self, request: bytes) -> Answer:
        """Send the request and wait for its answer; without one, the connection is aborted."""
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._answer = answer
        self._transport.write(request)
        self._timer = self._loop.call_later(READ_SECONDS, self._fail, ReadTimeoutError())
        try:
            return await answer
        except BaseException:
            if self._answer is answer:  # otherwise it came at that moment, and the connection may serve another by now
                self._end(keep=False)
            raise
        finally:
            del answer  # it knows its error, which knows this frame: all would wait for the garbage collector

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        if self._answer is None or self._answer.done():
            self.abort()
            return
        try:
            answer = whole(data) if self._reading is None else None
            if answer is None:
                self._read(data)
                return
        except StopIteration as last:
            answer = cast(Answer, last.value)
        except BrokenAnswer as exc:
            self._fail(exc)
            return
        self._answer.set_result(answer)
        self._end(keep=answer.keep)

    def _read(self, data: bytes) -> None:
        if self._reading is None:
            self._reading = reading()
            next(self._reading)
        self._reading.send(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's."""
        self._fail(ConnectionClosedError())

    def _fail(self, error: Exception) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)

    def _end(self, *, keep: bool) -> None:
        self._timer.cancel()
        self._answer = self._reading = None
        if keep:
            self.idle_since = time.monotonic()
            self._freed(self)
        else:
            self.abort()
            self._freed(None)


class HTTPClient:
    """Up to CONNECTIONS connections to one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._in_use = 0  # connections, with those that are being made
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: deque[Wire] = deque()

    async def send(self, request: bytes) -> Answer:
        """What the server answers to the bytes of a request. Raises this room's errors and BrokenAnswer."""
        wire = self._kept() if self._in_use < CONNECTIONS else None
        if wire is None:
            wire = await self._free_or_new()
        else:
            self._in_use += 1
        return await wire.ask(request)

    async def _free_or_new(self) -> Wire:
        try:
            async with patience.limit(WAIT_SECONDS):
                await self._enter()
                try:
                    return self._kept() or await self._connect()
                except BaseException:
                    self._leave()
                    raise
        except TimeoutError as exc:
            raise ConnectTimeoutError from exc

    async def _enter(self) -> None:
        """Be one of CONNECTIONS; the first that waits is the first to be one."""
        if self._in_use < CONNECTIONS:
            self._in_use += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if not turn.cancelled():  # it came at that moment
                self._leave()
            raise

    def _leave(self, free: Wire | None = None) -> None:
        """Be no longer one of them; what is `free` serves the next."""
        if free:
            self._idle.append(free)
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._in_use -= 1

    async def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop().abort()
        await asyncio.sleep(0)  # asyncio closes the sockets in its next turn

    def _kept(self) -> Wire | None:
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().abort()
        while self._idle:
            wire = self._idle.pop()
            if wire.usable:
                return wire
            wire.abort()
        return None

    async def _connect(self) -> Wire:
        host, port, _, tls = self.server
        try:
            async with patience.limit(CONNECT_SECONDS):
                _, wire = await asyncio.get_running_loop().create_connection(
                    lambda: Wire(self._leave), host, port, ssl=tls
                )
        except TimeoutError as exc:
            raise ConnectTimeoutError from exc
        except ssl.SSLError as exc:
            raise SSLError from exc
        except OSError as exc:
            raise EndpointConnectionError from exc
        return wire
