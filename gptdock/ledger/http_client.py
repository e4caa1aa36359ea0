"""Sends POST requests to one server over kept connections, for `dynamo`: a client of HTTP/1.1 and no more.

aiohttp's client costs 60 us more a call, an eighth of a whole request to GPTDock; hence this one. Its rules:

- A request is sent once. Every fault is raised, and nothing here sends the request again, not even when the server
  closed a kept connection at that moment.
- A connection serves one request at a time, and the next one only after a whole answer with nothing behind it. A
  call that is cancelled or times out aborts it: what arrives on it later must not be taken for another answer.
- A kept connection on which something came unasked, bytes or the server's end, is not used again.
- A request waits for one of CONNECTIONS, CONNECT_SECONDS for a new one, and READ_SECONDS for the whole answer; its
  caller has a deadline over all three.
"""

import asyncio
import select
import ssl
from collections import deque
from typing import NamedTuple, Self, cast
from urllib.parse import urlsplit

from gptdock.ledger.http_answer import Answer, BrokenAnswer, Reading, reading

CONNECTIONS = 64
CONNECT_SECONDS = 1.0  # TLS included
READ_SECONDS = 2.0
IDLE_SECONDS = 12.0  # as in aiobotocore: less than servers wait before they close


# Named as botocore's are, so that logs read the same over either client.
class EndpointConnectionError(Exception):
    """Nothing listens at this address, or the name has no address."""


class ConnectTimeoutError(Exception):
    """No connection within CONNECT_SECONDS."""


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

    def __init__(self) -> None:
        self._answer: asyncio.Future[Answer] | None = None
        self._reading: Reading | None = None
        self._unasked = select.poll()
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
        loop = asyncio.get_running_loop()
        self._reading, self._answer = reading(), loop.create_future()
        next(self._reading)
        self._transport.write(request)
        timer = loop.call_later(READ_SECONDS, self._fail, ReadTimeoutError())
        try:
            return await self._answer
        except BaseException:
            self.abort()
            raise
        finally:
            timer.cancel()

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        if self._reading is None:
            self.abort()
            return
        try:
            self._reading.send(data)
        except StopIteration as whole:
            self._reading = None
            if self._answer and not self._answer.done():
                self._answer.set_result(whole.value)
        except BrokenAnswer as exc:
            self._fail(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's."""
        self._fail(ConnectionClosedError())

    def _fail(self, error: Exception) -> None:
        self._reading = None
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)


class HTTPClient:
    """Up to CONNECTIONS connections to one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._idle: deque[Wire] = deque()

    async def send(self, request: bytes) -> Answer:
        """What the server answers to the bytes of a request. Raises this room's errors and BrokenAnswer."""
        async with self._slots:
            wire = self._kept() or await self._connect()
            answer = await wire.ask(request)
            if answer.keep:
                wire.idle_since = asyncio.get_running_loop().time()
                self._idle.append(wire)
            else:
                wire.abort()
            return answer

    async def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop().abort()
        await asyncio.sleep(0)  # asyncio closes the sockets in its next turn

    def _kept(self) -> Wire | None:
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
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
            async with asyncio.timeout(CONNECT_SECONDS):
                _, wire = await asyncio.get_running_loop().create_connection(Wire, host, port, ssl=tls)
        except TimeoutError as exc:
            raise ConnectTimeoutError from exc
        except ssl.SSLError as exc:
            raise SSLError from exc
        except OSError as exc:
            raise EndpointConnectionError from exc
        return wire
