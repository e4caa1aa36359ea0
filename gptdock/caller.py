"""The one who asked: writes an answer to the connection, and drops it where that fails."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from gptdock.errors import CallerGone
from gptdock.keys import SETTINGS

_LINGER_ZERO = struct.pack("ii", 1, 0)


class Caller:
    """The connection of the one who asked: every write has WRITE_TIMEOUT, and if it fails the connection is dropped."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request, self._response = request, response
        self._timeout = request.app[SETTINGS].write_timeout
        self._ends = False

    async def write(self, data: bytes) -> None:
        """Send `data`, after the head if this is the first. Raises CallerGone."""
        async with self._writing():
            await self._response.write(data)

    async def end(self, data: bytes = b"") -> None:
        """Send `data` and the end of the body, after the head if this is the first. Raises CallerGone."""
        self._ends = True
        async with self._writing():
            await self._response.write_eof(data)

    def cut_unless_ended(self) -> None:
        """Drop the connection in the middle of an answer: nothing else may follow on it."""
        if self._response.prepared and not self._ends:
            self._cut()

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                await self._response.prepare(self._request)  # does nothing but the first time
                yield
        except (aiohttp.ClientError, OSError) as exc:  # TimeoutError is an OSError
            self._cut()
            raise CallerGone from exc

    def _cut(self) -> None:
        if transport := self._request.transport:
            # By a reset: to a caller who does not read, the kernel would offer megabytes for another minute.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            transport.abort()
