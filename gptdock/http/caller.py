"""The caller's side of an answer: writes it to the connection, and drops that where writing fails."""

import asyncio
from collections.abc import Awaitable

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gptdock.aiohttp_private import server
from gptdock.errors import CallerGone
from gptdock.http.connections import cut
from gptdock.settings import Settings

PIECE_BYTES = 2**16  # of a whole answer: a larger one is sent by pieces, so that none waits besides what is kept of it
PING = b": ping\n\n"  # a comment, which readers of events ignore
SURELY_TAKEN = 2**15  # bytes: no write waits before 64 KiB wait to be sent, so the deadline, 10 us, can be saved


class Caller:
    """Whoever asked. A caller that does not read for WRITE_TIMEOUT is dropped, and so is one to whom a write fails.

    `write_now` never waits: what comes before the head is out, or more than the caller reads, waits for `catch_up`.
    """

    __slots__ = (
        "_ends",
        "_is_chunked",
        "_kept",
        "_protocol",
        "_request",
        "_response",
        "_timeout",
        "_writer",
        "ended",
        "has_waited",
    )

    def __init__(self, request: web.Request, settings: Settings, response: web.StreamResponse) -> None:
        self._request, self._response, self._protocol = request, response, request.protocol
        self._timeout = settings.write_timeout
        self._writer: AbstractStreamWriter | None = None
        self._kept = b""
        self._is_chunked = False
        self._ends = self.ended = False
        self.has_waited = False  # for the caller to read on, perhaps

    @property
    def is_behind(self) -> bool:
        """Whether `catch_up` must be awaited before more is written."""
        return bool(self._kept) or bool(self._protocol.writing_paused)

    def write_now(self, data: bytes) -> bool:
        """Send `data` without waiting. False if `catch_up` must be awaited before more. Raises CallerGone."""
        if self._writer is None or not data:  # as a chunk, nothing would be the end of the body
            self._kept += data
            return not self.is_behind
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise CallerGone
        server.write_now(transport, data, chunked=self._is_chunked)
        return not self._protocol.writing_paused

    def ping(self) -> None:
        """Send a comment, so that nobody takes silence for a dead connection. Raises CallerGone.

        Nothing is sent before the head, nor to a caller who has yet to take what was sent before.
        """
        transport = self._protocol.transport
        if self._writer is not None and not (transport and transport.get_write_buffer_size()):
            self.write_now(PING)

    async def begin_or_ping(self) -> None:
        """Send the head and a comment or, if the head is out, `ping`. Raises CallerGone."""
        if self._writer is None:
            await self.write(PING)
        else:
            self.ping()

    async def catch_up(self) -> None:
        """Wait until the head is out, if anything is to follow it, and the caller has read on. Raises CallerGone."""
        if not self.is_behind:
            return
        if self._writer is None:
            await self._sent(self._begin(), len(self._kept))
        else:
            await self._sent(self._writer.drain(), SURELY_TAKEN)

    async def write(self, data: bytes) -> None:
        """Send `data`, after the head if this is the first, and wait for a slow caller. Raises CallerGone."""
        self.write_now(data)
        await self.catch_up()

    async def end(self, data: bytes = b"", *, size: int = 0) -> None:
        """Send `data` and the end of the body, after the head if this is the first. Raises CallerGone.

        `size` is that of a body which the response has already.
        """
        self._ends = True
        await self._sent(self._end(data), size + len(data))
        self.ended = True

    async def end_by_pieces(self, body: bytes) -> None:
        """Send the head and this body, each piece once the one before is taken. Raises CallerGone."""
        await self._sent(self._pieces(body), len(body))

    def cut_unless_ended(self) -> None:
        """Reset the connection, unless the end of the answer is already being sent."""
        if self._response.prepared and not self._ends:
            self.cut()

    def cut(self) -> None:
        """Drop the connection."""
        cut(self._request.transport)

    async def _sent(self, sending: Awaitable[None], size: int) -> None:
        transport, waits = self._protocol.transport, self._protocol.writing_paused
        try:
            if transport is not None and not waits and transport.get_write_buffer_size() + size < SURELY_TAKEN:
                await sending
                return
            self.has_waited = True
            async with asyncio.timeout(self._timeout):
                await sending
        except (aiohttp.ClientError, OSError) as exc:  # TimeoutError is an OSError
            self.cut()
            raise CallerGone from exc

    async def _end(self, data: bytes) -> None:
        await self._response.prepare(self._request)  # does nothing but the first time
        await self._response.write_eof(data)

    async def _pieces(self, body: bytes) -> None:
        await self._response.prepare(self._request)
        for at in range(0, len(body), PIECE_BYTES):
            await self._response.write(body[at : at + PIECE_BYTES])
        await self._response.write_eof()

    async def _begin(self) -> None:
        self._writer = await self._response.prepare(self._request)
        self._is_chunked = "Transfer-Encoding" in self._response.headers
        kept, self._kept = self._kept, b""
        await self._response.write(kept)
        self._response.headers.clear()  # they are written, and would stay as long as a stream
