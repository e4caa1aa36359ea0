"""A pool of client's connections of which none can give one request the answer to another."""

import asyncio
import gc
import re
import select
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

from gptdock.aiohttp_private.reading import LazyResume

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.tracing import Trace


MOST_HEAD = 2**14  # bytes, in which the alias is looked for
_NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
_X_GZIP = re.compile(rb"\A((?:[^\r\n]+\r\n)+?content-encoding:[ \t]*)x-gzip(?=[ \t]*\r\n)", re.IGNORECASE)


class Reader(Protocol):
    """Reads a body instead of aiohttp's parser, where it can."""

    def takes(self, data: bytes) -> bool:
        """Whether it takes this read, of which the parser then hears nothing."""

    def parsed(self, data: bytes) -> None:
        """Called when the parser has had this read."""


class Wire(LazyResume, ResponseHandler):
    """A client's connection, which knows whether it can be used again."""

    is_reused = False
    is_in_step = False  # its last request got the right answer, and nothing came behind that
    tap: "Reader | None" = None  # has each read before the parser, and is told of those that it leaves to that
    body: aiohttp.StreamReader | None = None  # of its last answer, as Pool.watch was told
    _was_paused = False
    _last_parser: Any = None
    _unasked: "select.poll | None" = None

    def data_received(self, data: bytes) -> None:
        """As aiohttp does, which knows `gzip`, but not its old name `x-gzip` (RFC 9110, 8.4.1.3)."""
        if (tap := self.tap) is not None:
            if not tap.takes(data):
                super().data_received(data)
                if data:  # aiohttp calls this without any, too, to have the parser go on
                    tap.parsed(data)
            return
        # Looked for by a part of it that is rare: to search all by the pattern takes 1 % of a request.
        may_have_it = data.find(b"-g", 0, MOST_HEAD) >= 0 or data.find(b"-G", 0, MOST_HEAD) >= 0
        if may_have_it and (self._payload is None or self._payload.is_eof()):
            data = _X_GZIP.sub(rb"\1gzip", data, count=1)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """As aiohttp does, which lets the reader of a body wait after broken framing."""
        super().connection_lost(exc)
        if self.body is not None and not self.body.is_eof():
            fault = self.body.exception() or aiohttp.ClientPayloadError("The connection was closed.")
            self.body.set_exception(fault)  # also again: it drops what is called at the end, which knows this body
        self.body = self._last_parser = None  # they know this connection, so all would wait for the garbage collector

    def rest(self) -> None:
        """Begin to be idle: what comes from now on is unasked, and is kept unparsed."""
        self._last_parser, self._parser = self._parser, None

    def reuse(self) -> bool:
        """Whether it can be used again; asks the kernel, too, for what the loop has not read yet."""
        is_in_step, self.is_in_step, self.is_reused = self.is_in_step, False, True
        if not is_in_step or self.should_close or self.transport is None or self._has_half_a_head():
            return False
        if self._unasked is None:
            self._unasked = select.poll()
            self._unasked.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._unasked.poll(0)

    @property
    def is_sending(self) -> bool:
        """Whether some of the last request has yet to be sent; over TLS, what TLS has taken counts as sent."""
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    def _has_half_a_head(self) -> bool:
        try:
            return self._last_parser is None or self._last_parser.feed_eof() is not None
        except HttpProcessingError:  # a head cannot end like that
            return True


class Pool(aiohttp.TCPConnector):
    """A pool that uses a connection again only if the last answer was right and nothing came since.

    Anything else may be taken for the answer to the next request, of another client. aiohttp looks at `should_close`
    when a connection begins to be idle, and not when it is used again.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._factory = partial(Wire, loop=self._loop)  # type: ignore[assignment]

    @staticmethod
    def keep(response: aiohttp.ClientResponse) -> None:
        """Let the connection of this answer, which was the right one, be used again."""
        if isinstance(response._protocol, Wire):
            response._protocol.is_in_step = True

    @staticmethod
    def watch(response: aiohttp.ClientResponse) -> None:
        """End the response's body with ClientPayloadError if its connection closes before the body is complete."""
        if isinstance(response._protocol, Wire):
            response._protocol.body = response.content

    @staticmethod
    def forget_beginning(response: aiohttp.ClientResponse) -> None:
        """Let go of the heads of an answer and its request, and of what is left of a handshake: 7 KB, or 24 over TLS.

        Otherwise they are kept as long as the body is read. Nobody can ask for them then.
        """
        response._headers, response._raw_headers, response._raw_cookie_headers = _NO_HEADERS, (), None
        response._request_info = None  # type: ignore[assignment] # only errors before the body tell it
        response._cache.clear()
        wire = response._connection.protocol if response._connection is not None else None
        if wire is not None and wire.transport is not None:
            _forget_fields(wire._parser)
            _forget_handshake(wire.transport)

    @staticmethod
    def is_doubtful(response: aiohttp.ClientResponse) -> bool:
        """Whether this may be the answer to another request: it came before its own was sent, or is one of two."""
        wire = response._protocol
        return isinstance(wire, Wire) and wire.is_reused and bool(wire._buffer or wire.is_sending)

    def _release(self, key: "ConnectionKey", protocol: ResponseHandler, *, should_close: bool = False) -> None:
        super()._release(key, protocol, should_close=should_close)
        if protocol.transport is not None and isinstance(protocol, Wire):
            protocol.rest()

    async def _get(self, key: "ConnectionKey", traces: list["Trace"]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if isinstance(connection.protocol, Wire) and connection.protocol.reuse():
                return connection
            connection.close()
        return None


def _forget_fields(parser: object) -> None:
    """The parser is written in C and keeps the fields of its last head in two lists until the next one begins."""
    for kept in gc.get_referents(parser):
        if type(kept) is list and kept and isinstance(kept[0][0], str | bytes):
            kept.clear()


def _forget_handshake(transport: asyncio.BaseTransport) -> None:
    if (tls := transport.get_extra_info("ssl_object")) is not None:
        (transport.get_extra_info("peercert") or {}).clear()
        with suppress(OSError):  # ssl.SSLError of a connection that is being closed
            # OpenSSL takes 16 KB to read the tickets that come behind a handshake, and keeps them until it has written
            # something. To write nothing sends nothing.
            tls.write(b"")
