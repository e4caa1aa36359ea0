"""POST requests to one URL, each in one write, without what a session works out anew for each.

A session makes and checks all of a request: URL, cookies, headers, body, and a task that writes it. That takes 190k of
a whole request's 1,480k instructions. Here aiohttp makes the first one, and its head serves for all. Connections and
answers are aiohttp's, as with a session.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from aiohttp import http_writer
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from yarl import URL

from gptdock.aiohttp_private.pool import Wire

_BODY, _ANSWER = b"{}", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"  # of the trial
_MISFITS = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, aiohttp.ClientError)


class Poster:
    """Posts JSON to one URL as this session would, which has no proxy: with its connector, headers and deadlines."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, URL(url)
        self._first = first = aiohttp.ClientRequest(
            "POST",
            self._url,
            headers=session._prepare_headers(None),
            data=aiohttp.BytesPayload(_BODY, content_type="application/json"),
            loop=session._loop,
            session=session,
        )
        del first.headers["Content-Length"]
        head = http_writer._serialize_headers(f"POST {self._url.raw_path_qs} HTTP/1.1", first.headers)
        self._head = head.removesuffix(b"\r\n")
        self._timer, self._info = TimerNoop(), first.request_info
        self._limits: dict[str, Any] = {
            "timer": self._timer,
            "read_until_eof": True,
            "auto_decompress": session._auto_decompress,
            "read_bufsize": session._read_bufsize,
            "max_line_size": session._max_line_size,
            "max_field_size": session._max_field_size,
            "max_headers": session._max_headers,
        }
        # An answer asks its writer how much was sent, which was nothing by this one.
        self._writer = http_writer.StreamWriter(cast(Wire, None), session._loop)

    async def post(
        self, body: bytes, headers: Mapping[str, str] | None, begins: Callable[[], None]
    ) -> aiohttp.ClientResponse:
        """The response to this body, as `ClientSession.post` without redirects would return it, or raise.

        The `headers` come on top of the session's; they are sent as they are. `begins` is called when there is a
        connection, just before the request is written.
        """
        session = self._session
        assert session._connector is not None
        try:
            connection = await session._connector.connect(self._first, [], session._timeout)
        except TimeoutError as exc:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {self._url}") from exc
        try:
            return await self._post(connection, body, headers or {}, begins)
        except BaseException:
            connection.close()
            raise

    async def _post(
        self, connection: Connection, body: bytes, headers: Mapping[str, str], begins: Callable[[], None]
    ) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        if protocol is None or protocol.transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(**self._limits)
        response = aiohttp.ClientResponse(
            "POST",
            self._url,
            writer=None,
            continue100=None,
            timer=self._timer,
            request_info=self._info,
            traces=[],
            loop=self._session._loop,
            session=self._session,
            stream_writer=self._writer,
        )
        if protocol.exception() is None:  # otherwise something came unasked, and `start` raises it
            more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode()
            begins()
            protocol.transport.write(b"%b%bContent-Length: %d\r\n\r\n%b" % (self._head, more, len(body), body))
        try:
            return await response.start(connection)
        except BaseException:
            response.close()
            raise

    def _is_answered(self) -> bool:
        """Whether a request that is answered at once is written, and its answer read, as this module expects."""
        wire, written = Wire(self._session._loop), bytearray()

        def write(data: bytes) -> None:
            written.extend(data)
            wire.data_received(_ANSWER)

        wire.transport = cast(asyncio.Transport, SimpleNamespace(write=write, is_closing=lambda: False))
        pool = SimpleNamespace(_release=lambda *_, **__: None)
        connection = Connection(cast(aiohttp.BaseConnector, pool), self._first.connection_key, wire, wire._loop)
        posting = self._post(connection, _BODY, {}, lambda: None)
        try:
            posting.send(None)
        except StopIteration as end:
            response: aiohttp.ClientResponse = end.value
            read = (response.status, response.content._read_nowait(-1))
            return read == (200, _ANSWER[-2:]) and bytes(written).endswith(b"\r\n\r\n" + _BODY)
        finally:
            connection.close()
        return False


def can_post(session: aiohttp.ClientSession) -> bool:
    """Whether this aiohttp lets a Poster do what the session's `post` does. Call it in a running loop."""
    try:
        return Poster(session, "http://127.0.0.1/")._is_answered()
    except _MISFITS:
        return False
