"""All that leans on parts of aiohttp that its documentation does not promise, for the server and for the client.

Written for aiohttp 3.14. tests/test_aiohttp_private.py fails with one that differs.
"""

import asyncio
from functools import partial

import aiohttp
from aiohttp import web
from aiohttp.client_proto import ResponseHandler


class PipelineHandler(web.RequestHandler):
    """A server's connection that says when more was pipelined than it can take: see `cannot_read_on`."""

    __slots__ = ()

    def cannot_read_on(self) -> None:
        """Bytes wait that nobody will read before the current request ends, so its caller could leave unnoticed."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """A body comes faster than it is read; or it belongs to a request that waits for the current one to end."""
        if self._current_request is not None and self._messages:
            self.cannot_read_on()
        else:
            super().pause_reading()

    def _pause_reading_for_buffer(self) -> None:
        self.cannot_read_on()  # 32 requests wait: aiohttp reads no more until some are answered


class BodyWatch:
    """Ends the body of an answer when its connection closes: after broken framing aiohttp tells no reader."""

    def __init__(self) -> None:
        self._bodies: dict[ResponseHandler, aiohttp.StreamReader] = {}  # the last of each connection

    def watch(self, response: aiohttp.ClientResponse) -> None:
        """See that the response's body ends with its connection."""
        protocol = response.connection.protocol if response.connection is not None else None
        if protocol is None or protocol.closed is None:  # it came whole, with its head, or is over
            return
        if protocol not in self._bodies:
            protocol.closed.add_done_callback(partial(self._closed, protocol))
        self._bodies[protocol] = response.content

    def _closed(self, protocol: ResponseHandler, closed: "asyncio.Future[None]") -> None:
        if not closed.cancelled():
            closed.exception()  # or asyncio would complain that nobody asked
        content = self._bodies.pop(protocol)
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("The connection was closed."))


def unread(content: aiohttp.StreamReader) -> bytes:
    """What has come of a body and was not read yet, without waiting, also if the connection broke since."""
    # Not `read_nowait`: on a broken connection it raises, and what came before the break stays in the buffer.
    return content._read_nowait(-1)
