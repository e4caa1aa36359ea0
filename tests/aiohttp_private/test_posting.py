"""A Poster asks as a session does, or is refused by an aiohttp that it does not fit."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import http_writer
from aiohttp.connector import Connection

from gptdock.aiohttp_private.pool import Pool, Wire
from gptdock.aiohttp_private.posting import Poster, can_post
from tests.harness.hostile import raw_upstream, read_request, unroutable, url_of
from tests.harness.processes import PATIENCE_SECONDS

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TRACE = {"traceparent": "00-1"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=Pool(limit=0), headers={"Authorization": "Bearer k"}) as session:
        yield session


async def by_poster(session: aiohttp.ClientSession, url: str, body: bytes) -> aiohttp.ClientResponse:
    return await Poster(session, url).post(body, TRACE, lambda: None)


async def by_session(session: aiohttp.ClientSession, url: str, body: bytes) -> aiohttp.ClientResponse:
    data = aiohttp.BytesPayload(body, content_type="application/json")
    return await session.post(url, data=data, headers=TRACE, allow_redirects=False)


Post = Callable[[aiohttp.ClientSession, str, bytes], Awaitable[aiohttp.ClientResponse]]
each_way = pytest.mark.parametrize("post", [by_poster, by_session])


async def test_a_poster_fits_the_installed_aiohttp(session):
    assert can_post(session)


async def test_a_poster_is_refused_by_an_aiohttp_whose_requests_have_no_length_yet(session, monkeypatch):
    monkeypatch.setattr(aiohttp.ClientRequest, "update_transfer_encoding", lambda request: None)
    monkeypatch.setattr(aiohttp.ClientRequest, "update_body_from_data", lambda request, body: None)

    assert not can_post(session)


@pytest.mark.parametrize(
    ("owner", "part"),
    [
        (http_writer, "_serialize_headers"),
        (aiohttp.ClientSession, "_prepare_headers"),
        (aiohttp.ClientRequest, "request_info"),
        (aiohttp.ClientResponse, "start"),
        (Wire, "set_response_params"),
    ],
)
async def test_a_poster_is_refused_by_an_aiohttp_without_one_of_its_parts(session, monkeypatch, owner, part):
    monkeypatch.delattr(next(each for each in getattr(owner, "__mro__", [owner]) if part in vars(each)), part)

    assert not can_post(session)


async def test_a_poster_is_refused_by_an_aiohttp_that_waits_for_more_before_it_answers(session, monkeypatch):
    async def start(response: aiohttp.ClientResponse, connection: object) -> aiohttp.ClientResponse:
        await asyncio.sleep(0)
        return response

    monkeypatch.setattr(aiohttp.ClientResponse, "start", start)

    assert not can_post(session)


async def test_a_poster_is_refused_by_an_aiohttp_that_reads_another_answer(session, monkeypatch):
    start = aiohttp.ClientResponse.start

    async def misread(response: aiohttp.ClientResponse, connection: Connection) -> aiohttp.ClientResponse:
        await start(response, connection)
        response.status = 100
        return response

    monkeypatch.setattr(aiohttp.ClientResponse, "start", misread)

    assert not can_post(session)


async def test_a_poster_sends_what_a_session_sends(session):
    heads, bodies = [], []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_request(reader)
            heads.append(sorted(head.split(b"\r\n")))
            bodies.append(body)
            writer.write(ANSWER)

    async with raw_upstream(note) as url:
        for post in (by_poster, by_session):
            response = await post(session, f"{url}/chat?a=%20b", b'{"a":1}')
            assert (response.status, await response.read()) == (200, b"{}")

    assert heads[0] == heads[1]
    assert bodies == [b'{"a":1}'] * 2
    assert b"traceparent: 00-1" in heads[0]


async def test_a_poster_starts_no_task_on_a_kept_connection(session):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            writer.write(ANSWER)

    begun: list[str] = []
    started: list[str] = []

    def start(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> "asyncio.Task[Any]":
        started.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, **more)

    async with raw_upstream(answer) as url:
        poster, loop = Poster(session, url), asyncio.get_running_loop()
        for body in (b"{}", b"[]"):
            started.clear()
            loop.set_task_factory(start)
            response = await poster.post(body, None, lambda: begun.append("one"))
            loop.set_task_factory(None)
            assert await response.read() == b"{}"
            Pool.keep(response)
    assert (begun, started) == (["one", "one"], [])


@each_way
async def test_an_answer_that_is_there_before_its_request_is_sent_is_doubtful(session, post: Post):
    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ANSWER)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await asyncio.Event().wait()

    async with raw_upstream(answer_early) as url:
        first = await post(session, url, b"{}")
        wire = first._protocol
        assert isinstance(wire, Wire)
        assert wire.transport is not None
        wire.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        assert not Pool.is_doubtful(first)
        await first.read()
        Pool.keep(first)
        early = await post(session, url, b"x" * 1_000_000)
        assert (early._protocol is wire, Pool.is_doubtful(early)) == (True, True)
        early.close()


@each_way
async def test_a_connection_that_ends_before_the_answer_says_so(session, post: Post):
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.close()

    async with raw_upstream(hang_up) as url:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await post(session, url, b"{}")
    assert not session.connector._acquired


async def test_nothing_is_sent_on_a_connection_on_which_something_came_before(session):
    begun: list[str] = []
    greeted, connect = asyncio.Event(), session.connector.connect

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n\r\n")
        await greeted.wait()

    async def connect_late(*arguments: Any) -> Connection:
        connection = await connect(*arguments)
        connection.protocol.set_exception(aiohttp.ServerDisconnectedError())
        return connection

    session.connector.connect = connect_late
    async with raw_upstream(greet) as url:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await Poster(session, url).post(b"{}", None, lambda: begun.append("one"))
        greeted.set()
    assert begun == []


@each_way
async def test_a_connection_that_is_not_made_in_time_says_so(post: Post):
    timeout = aiohttp.ClientTimeout(connect=0.05)
    with unroutable() as sock:
        async with aiohttp.ClientSession(connector=Pool(limit=0), timeout=timeout) as session:
            with pytest.raises(aiohttp.ConnectionTimeoutError):
                await post(session, url_of(sock), b"{}")


@each_way
async def test_a_request_that_is_cancelled_leaves_no_connection(session, post: Post):
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.set_debug(True)  # so that aiohttp tells of a response that nobody closed
    loop.set_exception_handler(lambda loop, context: pytest.fail(context["message"]))

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.set()
        assert await reader.read() == b""
        asked.clear()

    async with raw_upstream(wait) as url, asyncio.timeout(PATIENCE_SECONDS):
        posting = asyncio.ensure_future(post(session, url, b"{}"))
        await asked.wait()
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
        while asked.is_set():  # noqa: ASYNC110  # until the server has seen the end
            await asyncio.sleep(0)
    assert not session.connector._acquired
