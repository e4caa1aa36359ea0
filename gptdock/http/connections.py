"""The connections of callers: the deadline of their first head, and how they end when the process drains.

Their states, and what a drain does in each, are described in `gptdock/http/__init__.py`.
"""

import asyncio
import socket
import struct
import uuid
from typing import Any, cast

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.web_request import BaseRequest

from gptdock.aiohttp_private.server import PipelineHandler
from gptdock.errors import APIError, InternalError, InvalidRequest
from gptdock.http.heads import HeadMeter
from gptdock.telemetry import logs, request_line

FRESH_SECONDS = 1.0  # for the first request of a connection that was accepted before the drain; see `Connections.drain`
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Connections:
    """All open connections, by state: fresh, busy or idle."""

    def __init__(self, head_timeout: float, write_timeout: float) -> None:
        self.draining = False  # true from the signal on, before `drain`
        self.write_timeout = write_timeout
        self._head_timeout = head_timeout
        self._fresh: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._heads: dict[web.RequestHandler, asyncio.TimerHandle] = {}  # that are incomplete
        self._busy: set[web.RequestHandler] = set()
        self._idle: set[web.RequestHandler] = set()
        self._changed = asyncio.Event()

    def is_last(self, request: web.BaseRequest) -> bool:
        """Whether the answer to this request must be the last of its connection.

        After a chunked body, of which aiohttp 3.14.5 makes the last trailer a header of the next request; for HTTP/1.0,
        where a stream ends only with its connection; and while the process drains.
        """
        return self.draining or request.version < HttpVersion11 or "Transfer-Encoding" in request.headers

    def opened(self, connection: web.RequestHandler) -> None:
        """Note a new connection, which is closed unless its first request comes within HEAD_TIMEOUT."""
        self._fresh[connection] = _close_in(self._head_timeout, connection)

    def head_began(self, connection: web.RequestHandler) -> None:
        """Note that a head is incomplete. It must end within HEAD_TIMEOUT of its first byte.

        Otherwise the connection is closed; if a request is being answered then, after that.
        """
        if connection not in self._heads:
            loop = asyncio.get_running_loop()
            self._heads[connection] = loop.call_later(self._head_timeout, self._give_up, connection)

    def head_ended(self, connection: web.RequestHandler) -> None:
        """Note that no head is incomplete."""
        if timer := self._heads.pop(connection, None):
            timer.cancel()

    def _give_up(self, connection: web.RequestHandler) -> None:
        if connection in self._busy:
            connection.close()
        else:
            connection.force_close()

    def asked(self, connection: web.RequestHandler) -> bool:
        """Note that a request began; return whether it is the first of its connection."""
        is_first = self._forget(connection)
        self._busy.add(connection)
        return is_first

    def answered(self, connection: web.RequestHandler) -> None:
        """Note that the handler is done; what it returned may still have to be written."""
        if connection in self._busy:
            self._busy.discard(connection)
            self._idle.add(connection)
            self._changed.set()

    def lost(self, connection: web.RequestHandler) -> None:
        """Note that the connection is closed."""
        self._forget(connection)
        self.head_ended(connection)
        self._changed.set()

    async def drain(self) -> None:
        """Close idle connections at once, busy ones after their answer, fresh ones after their first request.

        Returns when none is open. A fresh one is closed if its request does not come within FRESH_SECONDS.
        """
        # aiohttp's own shutdown closes all of them at once: it would not read a body that is still arriving.
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
    """A connection of aiohttp's server that is noted in `Connections` and gives aiohttp's own errors our form."""

    __slots__ = ("_connections", "_heads")

    def __init__(self, connections: Connections, manager: web.Server, **arguments: Any) -> None:
        super().__init__(manager, **arguments)
        self._connections = connections
        self._heads = HeadMeter()

    def has_read(self, data: bytes, bodies: list[StreamReader]) -> int | None:
        """Bound heads in bytes and in time."""
        was_pending = self._heads.pending
        fit = self._heads.feed(data, bodies)
        if self._heads.pending:
            self._connections.head_began(self)
        elif was_pending:
            self._connections.head_ended(self)
        return fit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._connections.lost(self)
        self._heads = HeadMeter()  # the old one knows a body that may be under way, and that this connection

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write what the handler did not write itself; cut the connection if that takes longer than WRITE_TIMEOUT."""
        if resp.prepared:  # a `Caller` began to write it, and has ended it or cut the connection
            return await super().finish_response(request, resp, start_time)
        if isinstance(resp, web.HTTPExpectationFailed):  # raised before the middlewares; its text quotes the header
            resp = self.handle_error(request, resp.status, resp)
        try:
            async with asyncio.timeout(self._connections.write_timeout):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            cut(self.transport)
            return resp, True

    def cannot_read_on(self) -> None:
        """Cut the connection: while aiohttp does not read, it does not notice that the caller leaves."""
        cut(self.transport)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer a malformed request, or a fault of ours: unlike aiohttp's answers, without quoting what was sent."""
        request_id = uuid.uuid4().hex
        logs.request_id.set(request_id)
        error: APIError = InternalError() if status >= 500 else InvalidRequest("Malformed HTTP request.")
        if status >= 500:
            super().handle_error(request, status, exc, message)  # logs the fault; raises if an answer has begun
        else:
            line = request_line.begin("-", "-")  # it does not reach the middlewares
            line.fields.update(status=error.status, fault=type(exc).__name__)
            line.answered(error.code)
        response = web.json_response(
            error.to_json(request_id), status=error.status, headers={"X-Request-Id": request_id}
        )
        response.force_close()
        return response


def cut(transport: asyncio.BaseTransport | None) -> None:
    """Close a connection at once, by a reset: otherwise the kernel keeps megabytes for a caller that does not read."""
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        cast(asyncio.WriteTransport, transport).abort()  # uvloop's have the method and are none by class


def _close_in(seconds: float, connection: web.RequestHandler) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, connection.force_close)


async def _shut(connection: web.RequestHandler) -> None:
    connection.close()  # otherwise `shutdown` would wait for an idle one
    await connection.shutdown(None)
