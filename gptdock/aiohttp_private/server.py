"""The server's connection, and how to write to it past aiohttp."""

import asyncio
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _ErrInfo

from gptdock.aiohttp_private.reading import LazyResume


class PipelineHandler(LazyResume, web.RequestHandler):
    """A server's connection that tells what aiohttp keeps to itself: what was read, and when it reads no more."""

    __slots__ = ("_was_paused",)

    def __init__(self, manager: web.Server, **arguments: Any) -> None:
        super().__init__(manager, **arguments)
        self._was_paused = False

    def has_read(self, data: bytes, bodies: list[aiohttp.StreamReader]) -> int | None:
        """Called after each read with the bodies of the requests whose heads ended in it.

        Returns None, or how many of these requests are in order: what follows them is refused as malformed.
        """
        raise NotImplementedError

    def cannot_read_on(self) -> None:
        """Called when reading stops until the current request ends: until then a caller that leaves is not noticed."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Ignore what follows malformed bytes: for each read until it answers, aiohttp would keep a fault of them.

        uvloop reads 32 times before anything else has its turn: such a connection took 20 MiB.
        """
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            return
        known = self._request_count
        super().data_received(data)
        new = [self._messages[at] for at in range(known - self._request_count, 0)]
        if new and isinstance(fault := new[-1][0], _ErrInfo):
            fault.exc.__traceback__ = None  # it knows aiohttp's frame, and that the fault
        fit = self.has_read(data, [body for _, body in new])
        if fit is not None:
            self._refuse(len(new) - fit)

    def _refuse(self, count: int) -> None:
        """Answer 400 instead of the newest `count` requests, as aiohttp does if it cannot parse them."""
        for _ in range(count):
            self._messages.pop()
        fault = BadHttpMessage("the head is too long")
        self._messages.append((_ErrInfo(status=400, exc=fault, message=fault.message), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def pause_reading(self) -> None:
        # aiohttp calls this when more of a body came than it buffers: of the current request's body, whose handler will
        # read it; or of the body of a request that waits behind the current one, which nothing reads until that ends.
        if self._current_request is not None and self._messages:
            self.cannot_read_on()
        else:
            super().pause_reading()

    def _pause_reading_for_buffer(self) -> None:
        self.cannot_read_on()  # 32 requests wait, and aiohttp stops reading until some are answered


def write_now(transport: asyncio.Transport, data: bytes, *, chunked: bool) -> None:
    """Write a part of a body whose head and first part aiohttp wrote, without waiting."""
    transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)


def write_whole(request: web.BaseRequest, answer: bytes) -> None:
    """Write an answer with its head past aiohttp, which then answers nothing more, whatever fails after this."""
    transport, writer = request.transport, request.writer
    assert transport is not None
    assert isinstance(writer, StreamWriter)
    transport.write(answer)
    writer.set_eof()
