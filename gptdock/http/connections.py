"""The connections that callers hold to this process: a deadline for the first head, and their end when it drains.

aiohttp bounds a head by `keepalive_timeout` alone, which must be long, or the next POST of a BFF would race the end of
an idle connection. So a connection that has not sent its first head in HEAD_TIMEOUT is closed here (DESIGN 4).

    fresh --first request--> busy --answered--> idle --next request--> busy
"""

import asyncio
import socket
import struct
import uuid
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from gptdock.aiohttp_private import PipelineHandler
from gptdock.errors import APIError, InternalError, InvalidRequest
from gptdock.telemetry import logs, request_line

FRESH_SECONDS = 1.0  # for the first request of a connection that was accepted before the drain
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Connections:
    """All that are open."""

    def __init__(self, head_timeout: float, write_timeout: float) -> None:
        self.draining = False  # true from the signal on, before `drain`
        self.write_timeout = write_timeout
        self._head_timeout = head_timeout
        self._fresh: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._busy: set[web.RequestHandler] = set()
        self._idle: set[web.RequestHandler] = set()
        self._changed = asyncio.Event()

    def opened(self, connection: web.RequestHandler) -> None:
        """A connection was accepted."""
        self._fresh[connection] = _close_in(self._head_timeout, connection)

    def asked(self, connection: web.RequestHandler) -> bool:
        """A request came: whether it is its connection's first."""
        is_first = self._forget(connection)
        self._busy.add(connection)
        return is_first

    def answered(self, connection: web.RequestHandler) -> None:
        """The request was answered, but for what is still to be written."""
        if connection in self._busy:
            self._busy.discard(connection)
            self._idle.add(connection)
            self._changed.set()

    def lost(self, connection: web.RequestHandler) -> None:
        """The connection is closed."""
        self._forget(connection)
        self._changed.set()

    async def drain(self) -> None:
        """Close idle connections at once, busy ones once they are answered, fresh ones after their first request.

        A connection whose request is still on its way here is none of aiohttp's to close: it would not read on.
        """
        for connection, timer in self._fresh.items():
            timer.cancel()
            self._fresh[connection] = _close_in(FRESH_SECONDS, connection)
        while self._fresh or self._busy or self._idle:
            idle, self._idle = self._idle, set()
            self._changed.clear()
            await asyncio.gather(*(_shut(connection) for connection in idle))
            if self._fresh or self._busy:
                await self._changed.wait()

    def _forget(self, connection: web.RequestHandler) -> bool:
        self._busy.discard(connection)
        self._idle.discard(connection)
        timer = self._fresh.pop(connection, None)
        if timer:
            timer.cancel()
        return timer is not None


class Connection(PipelineHandler):
    """aiohttp's side of a connection, which tells of its beginning and end, and of aiohttp's own errors in our form."""

    __slots__ = ("_connections",)

    def __init__(self, connections: Connections, manager: web.Server, **arguments: Any) -> None:
        super().__init__(manager, **arguments)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The caller connected."""
        super().connection_made(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is closed."""
        super().connection_lost(exc)
        self._connections.lost(self)

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write what the handler did not write itself, within WRITE_TIMEOUT."""
        if isinstance(resp, web.HTTPExpectationFailed):  # it came to no middleware, and quotes the header
            resp = self.handle_error(request, resp.status, resp)
        try:
            async with asyncio.timeout(self._connections.write_timeout):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            cut(self.transport)
            return resp, True

    def cannot_read_on(self) -> None:
        """Cut the connection: otherwise aiohttp would not notice that the caller of the current request leaves."""
        cut(self.transport)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """aiohttp's answer to what is no HTTP quotes what was sent; ours does not."""
        request_id = uuid.uuid4().hex
        logs.request_id.set(request_id)
        error: APIError = InternalError() if status >= 500 else InvalidRequest("Malformed HTTP request.")
        if status >= 500:
            super().handle_error(request, status, exc, message)  # logs the fault, and raises if an answer was begun
        else:
            line = request_line.begin("-", "-")  # it came to no middleware
            line.note(status=error.status, fault=type(exc).__name__)
            line.answered(error.code)
        response = web.json_response(
            error.to_json(request_id), status=error.status, headers={"X-Request-Id": request_id}
        )
        response.force_close()
        return response


def cut(transport: asyncio.BaseTransport | None) -> None:
    """Drop a connection, at once, by a reset: to a caller who does not read, the kernel would offer megabytes."""
    if isinstance(transport, asyncio.WriteTransport):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()


def _close_in(seconds: float, connection: web.RequestHandler) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, connection.force_close)


async def _shut(connection: web.RequestHandler) -> None:
    connection.close()  # first, or an idle one would be waited for
    await connection.shutdown(None)
