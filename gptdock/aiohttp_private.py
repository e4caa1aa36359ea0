"""The undocumented parts of aiohttp that GPTDock relies on, on the server's side and on the client's.

Written for aiohttp 3.14. tests/test_aiohttp_private.py has a test for each and fails with a version that differs.
"""

import asyncio
from functools import partial

import aiohttp
from aiohttp import web
from aiohttp.client_proto import ResponseHandler


class PipelineHandler(web.RequestHandler):
    """A server's connection that calls `cannot_read_on` when more was pipelined than aiohttp reads ahead."""

    __slots__ = ()

    def cannot_read_on(self) -> None:
        """Called when reading stops until the current request ends: until then a caller that leaves is not noticed."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        # aiohttp calls this when more of a body came than it buffers: of the current request's body, whose handler will
        # read it; or of the body of a request that waits behind the current one, which nothing reads until that ends.
        if self._current_request is not None and self._messages:
            self.cannot_read_on()
        else:
            super().pause_reading()

    def _pause_reading_for_buffer(self) -> None:
        self.cannot_read_on()  # 32 requests wait, and aiohttp stops reading until some are answered


class BodyWatch:
    """Ends the body of an answer when its connection closes; after broken framing aiohttp lets its reader wait."""

    def __init__(self) -> None:
        self._bodies: dict[ResponseHandler, aiohttp.StreamReader] = {}  # the last of each connection

    def watch(self, response: aiohttp.ClientResponse) -> None:
        """End the response's body with ClientPayloadError if its connection closes before the body is complete."""
        protocol = response.connection.protocol if response.connection is not None else None
        if protocol is None or protocol.closed is None:  # the whole body has already come
            return
        if protocol not in self._bodies:
            protocol.closed.add_done_callback(partial(self._closed, protocol))
        self._bodies[protocol] = response.content

    def _closed(self, protocol: ResponseHandler, closed: "asyncio.Future[None]") -> None:
        if not closed.cancelled():
            closed.exception()  # asyncio logs a future whose exception was never retrieved
        content = self._bodies.pop(protocol)
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("The connection was closed."))


def unread(content: aiohttp.StreamReader) -> bytes:
    """The bytes of a body that came and were not read yet, without waiting, even if its connection broke since."""
    # Not `read_nowait`: once the connection broke, it raises and leaves them in the buffer.
    return content._read_nowait(-1)
