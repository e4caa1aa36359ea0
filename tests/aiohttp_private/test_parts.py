"""What aiohttp does not promise and we rely on: each test fails with an aiohttp in which it is otherwise."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler

from gptdock.aiohttp_private.pool import Pool
from gptdock.aiohttp_private.server import PipelineHandler
from gptdock.aiohttp_private.tap import unread
from tests.harness.hostile import PATIENCE_SECONDS, Connection, raw_upstream, request

GET = request("GET", "/", headers={})
OK = b"HTTP/1.1 200 OK\r\n"
MUCH = 2**20  # bytes: more than aiohttp buffers of a body


class Handler(PipelineHandler):
    """Notes that it was told, and reads on."""

    __slots__ = ("read", "told")

    def cannot_read_on(self) -> None:
        self.told = True

    def has_read(self, data: bytes, bodies: list[aiohttp.StreamReader]) -> None:
        self.read = (data, len(bodies))


class Server:
    """A server of one connection, whose requests wait in their handler until they are released."""

    def __init__(self) -> None:
        self.started, self.release = asyncio.Event(), asyncio.Event()
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.handler: Handler

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.requests.append(request)
        assert self.handler._current_request is request
        self.started.set()
        await self.release.wait()
        self.bodies.append(await request.read())
        return web.Response()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        loop, manager = asyncio.get_running_loop(), web.Server(self.handle, handler_cancellation=True)
        listener = await loop.create_server(partial(self._accept, manager), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()
            listener.close()
            await manager.shutdown(1)

    def _accept(self, manager: web.Server) -> Handler:
        self.handler = Handler(manager, loop=asyncio.get_running_loop())
        self.handler.told = False
        return self.handler


async def turn_until(is_so) -> None:
    """Let the loop run until this holds: aiohttp has no event for it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0)


# --- the server's connection


@pytest.mark.parametrize("count", [31, 32])
async def test_a_server_pauses_for_its_buffer_once_32_requests_wait(count):
    server = Server()
    server.release.set()
    async with server.connection() as connection:
        connection.send(GET * count)

        answers = [await connection.answer() for _ in range(count)]

        assert [status for status, *_ in answers] == [200] * count
        assert server.handler.told is (count == 32)
        assert server.handler._current_request is None


async def test_a_server_keeps_requests_that_wait_in_its_messages():
    server = Server()
    async with server.connection() as connection:
        connection.send(GET)
        await server.started.wait()
        assert len(server.handler._messages) == 0

        connection.send(GET * 2)
        await turn_until(lambda: len(server.handler._messages) == 2)

        server.release.set()
        for _ in range(3):
            await connection.answer()
    assert len(server.requests) == 3


async def test_a_server_s_reads_are_told_with_the_requests_whose_heads_ended_in_them():
    server = Server()
    server.release.set()
    async with server.connection() as connection:
        for data, count in ((GET * 2 + GET[:9], 2), (GET[9:], 1)):
            connection.send(data)
            for _ in range(count):
                await connection.answer()

            assert server.handler.read == (data, count)


async def test_a_server_pauses_reading_for_a_body_that_waits_behind_a_request():
    server = Server()
    async with server.connection() as connection:
        connection.send(GET)
        await server.started.wait()

        connection.send(request("POST", "/", {}, b"x" * MUCH))
        await turn_until(lambda: server.handler.told)

        assert server.handler._messages
        server.release.set()
        await connection.answer()


async def test_a_server_pauses_reading_for_a_body_that_its_handler_does_not_read_yet():
    server = Server()
    async with server.connection() as connection:
        connection.send(request("POST", "/", {}, b"x" * MUCH))
        await server.started.wait()
        transport = server.handler.transport
        assert transport is not None
        await turn_until(lambda: not transport.is_reading())

        server.release.set()
        await connection.answer()

        assert not server.handler.told
    assert server.bodies == [b"x" * MUCH]


# --- the client's connection


@asynccontextmanager
async def answered(*pieces: bytes, reset: bool = False) -> AsyncIterator[tuple[aiohttp.ClientResponse, asyncio.Event]]:
    """An answer whose first piece came; the others, and the end of its connection, come once the event is set."""
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(pieces[0])
        await go_on.wait()
        for piece in pieces[1:]:
            writer.write(piece)
        await writer.drain()
        if reset:
            Connection(reader, writer).hang_up(reset=True)
        writer.close()

    async with (
        raw_upstream(serve) as url,
        aiohttp.ClientSession(connector=Pool()) as session,
        session.get(url) as response,
    ):
        yield response, go_on


def protocol_of(response: aiohttp.ClientResponse) -> ResponseHandler:
    assert response.connection is not None
    protocol = response.connection.protocol
    assert isinstance(protocol, ResponseHandler)
    return protocol


async def closed(protocol: ResponseHandler) -> None:
    """Wait for the future that tells of the connection's end."""
    assert isinstance(protocol.closed, asyncio.Future)
    with suppress(aiohttp.ClientConnectionError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await protocol.closed


@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_s_protocol_has_a_future_that_ends_with_its_connection(reset):
    async with answered(OK + b"Content-Length: 9\r\n\r\nHello", reset=reset) as (response, go_on):
        protocol = protocol_of(response)
        assert isinstance(protocol.closed, asyncio.Future)
        assert not protocol.closed.done()
        go_on.set()

        await closed(protocol)

        assert isinstance(protocol.closed.exception(), aiohttp.ClientConnectionError if reset else type(None))


async def test_a_client_s_answer_that_came_whole_has_no_connection_to_watch():
    async with answered(OK + b"Content-Length: 5\r\n\r\nHello") as (response, _):
        await turn_until(lambda: response.content.is_eof())

        assert response.connection is None
        Pool.watch(response)
        assert await response.read() == b"Hello"


@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_s_body_keeps_what_came_before_its_connection_broke(reset):
    async with answered(OK + b"Content-Length: 9\r\n\r\nHello", reset=reset) as (response, go_on):
        await turn_until(lambda: response.content.total_bytes == 5)
        protocol = protocol_of(response)
        assert protocol.closed is not None
        go_on.set()
        await closed(protocol)

        with pytest.raises(aiohttp.ClientError):
            response.content.read_nowait()
        assert unread(response.content) == b"Hello"
        assert unread(response.content) == b""


@pytest.mark.parametrize("watched", [True, False])
async def test_a_client_s_body_with_broken_framing_ends_only_if_it_is_watched(watched):
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n"
    async with answered(head, b"no length\r\n") as (response, go_on):
        protocol = protocol_of(response)
        assert protocol.closed is not None
        if watched:
            Pool.watch(response)
        go_on.set()

        await closed(protocol)
        await asyncio.sleep(0)  # for the callbacks of the future

        told = response.content.is_eof() or response.content.exception() is not None
        assert told is watched
        assert unread(response.content) == b"Hello"
