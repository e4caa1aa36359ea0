"""The one who asked: writes an answer to the connection, and drops it where that fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from gptdock.errors import CallerGone
from gptdock.http.app_keys import SETTINGS
from gptdock.http.connections import cut


class Caller:
    """The connection of the one who asked: every write has WRITE_TIMEOUT, and if it fails the connection is dropped."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request, self._response = request, response
        self._timeout = request.app[SETTINGS].write_timeout
        self._ends = self.ended = False

    async def write(self, data: bytes) -> None:
        """Send `data`, after the head if this is the first. Raises CallerGone."""
        async with self._writing():
            await self._response.write(data)

    async def end(self, data: bytes = b"") -> None:
        """Send `data` and the end of the body, after the head if this is the first. Raises CallerGone."""
        self._ends = True
        async with self._writing():
            await self._response.write_eof(data)
        self.ended = True

    def cut_unless_ended(self) -> None:
        """Drop the connection in the middle of an answer: nothing else may follow on it. An end is left to arrive."""
        if self._response.prepared and not self._ends:
            self.cut()

    def cut(self) -> None:
        """Drop the connection."""
        cut(self._request.transport)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                await self._response.prepare(self._request)  # does nothing but the first time
                yield
        except (aiohttp.ClientError, OSError) as exc:  # TimeoutError is an OSError
            self.cut()
            raise CallerGone from exc
