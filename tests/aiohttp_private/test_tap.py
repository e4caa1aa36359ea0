"""A Tap on real bodies of the installed aiohttp: it is woken by everything that wakes a reader, once, and lets go."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Never

import aiohttp
import pytest
from aiohttp import client_proto, http_parser
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_proto import ResponseHandler

from gptdock.aiohttp_private.tap import Silence, Tap, can_tap
from tests.harness.garbage import TIMES, garbage

PATIENCE_SECONDS = 5


def body() -> aiohttp.StreamReader:
    return aiohttp.StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)


def fail(data: bytes) -> Never:
    raise ZeroDivisionError


async def tapped(content: aiohttp.StreamReader, taken: list[bytes], stop_at: bytes = b"stop") -> "asyncio.Task[None]":
    """A task that hands on what comes, and waits for more."""

    def take(data: bytes) -> bool | None:
        taken.append(data)
        return None if data == stop_at else True

    task = asyncio.create_task(Tap.hand_on(content, take, Silence(60)))
    await asyncio.sleep(0)
    assert isinstance(content._waiter, Tap)
    return task


async def test_a_tap_fits_the_installed_aiohttp():
    assert can_tap()


async def test_a_tap_is_refused_by_an_aiohttp_without_the_buffer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(aiohttp.StreamReader, "_read_nowait")

    assert not can_tap()


@pytest.mark.parametrize("part", ["feed_data", "feed_eof", "set_exception"])
async def test_a_tap_is_refused_by_an_aiohttp_that_does_not_wake_it(monkeypatch: pytest.MonkeyPatch, part: str):
    monkeypatch.setattr(aiohttp.StreamReader, part, lambda content, *more: None)

    assert not can_tap()


async def test_a_tap_is_refused_with_a_parser_that_tells_of_a_chunk_before_its_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_proto, "HttpResponseParser", http_parser.HttpResponseParserPy)

    assert not can_tap()


@pytest.mark.parametrize(
    "wake",
    [
        lambda content: content.feed_data(b"data"),
        lambda content: content.feed_eof(),
        lambda content: content.set_exception(aiohttp.ClientPayloadError()),
    ],
    ids=["data", "end", "break"],
)
async def test_a_tap_is_told_once_and_then_waits_no_more(wake: Callable[[aiohttp.StreamReader], None]):
    content, taken = body(), list[bytes]()
    task = await tapped(content, taken)
    tap = content._waiter
    assert tap is not None

    wake(content)

    assert tap.done()
    assert content._waiter is None
    task.cancel()


async def test_chunks_that_arrive_together_are_handed_on_together():
    """As the parser feeds them: it is not disturbed in between."""
    content, taken = body(), list[bytes]()
    task = await tapped(content, taken, stop_at=b"onetwo")

    for chunk in (b"one", b"two"):
        content.begin_http_chunk_receiving()
        content.feed_data(chunk)
        content.end_http_chunk_receiving()

    async with asyncio.timeout(PATIENCE_SECONDS):
        await task
    assert taken == [b"onetwo"]


@pytest.mark.parametrize("end", ["eof", "break"])
async def test_what_came_before_the_end_is_handed_on(end: str):
    content, taken = body(), list[bytes]()
    task = await tapped(content, taken)

    content.feed_data(b"last words")
    if end == "eof":
        content.feed_eof()
    else:
        content.set_exception(aiohttp.ClientPayloadError())

    async with asyncio.timeout(PATIENCE_SECONDS):
        await task
    assert taken == [b"last words"]


class Quiet(asyncio.Transport):
    """A transport on which nothing happens."""

    reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def abort(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("ends", [True, False])
async def test_what_the_parser_kept_back_is_handed_on(ends: bool):
    """To read what is there resumes a paused parser, which then fills the buffer without waking anybody."""
    connection = ResponseHandler(asyncio.get_running_loop())
    connection.connection_made(Quiet())
    connection.set_response_params(read_bufsize=2**16)
    connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    _, content = await connection.read()
    taken = bytearray()

    def take(data: bytes) -> bool | None:
        taken.extend(data)
        return None if len(taken) == 40 * 2**12 else True

    connection.data_received(b"1000\r\n%b\r\n" % bytes(2**12) * 40 + (b"0\r\n\r\n" if ends else b""))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await Tap.hand_on(content, take, Silence(60))

    assert len(taken) == 40 * 2**12


async def test_a_connection_that_one_piece_has_paused_reads_on_once_it_is_taken():
    transport, connection = Quiet(), ResponseHandler(asyncio.get_running_loop())
    connection.connection_made(transport)
    connection.set_response_params(read_bufsize=2**10)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    _, content = await connection.read()
    connection.data_received(bytes(5000))
    assert (len(content._buffer), transport.reads) == (1, False)

    async with asyncio.timeout(PATIENCE_SECONDS):
        await Tap.hand_on(content, lambda data: None, Silence(60))

    assert transport.reads


async def test_what_was_read_of_a_piece_is_not_handed_on_again():
    content, taken = body(), list[bytes]()
    content.feed_data(b"readstop")
    assert await content.read(4) == b"read"

    task = asyncio.create_task(Tap.hand_on(content, lambda data: taken.append(data), Silence(60)))

    async with asyncio.timeout(PATIENCE_SECONDS):
        await task
    assert taken == [b"stop"]


async def test_pieces_that_are_taken_one_by_one_leave_nothing_behind():
    content, taken = body(), list[bytes]()
    task = await tapped(content, taken)

    for _ in range(100):
        content.begin_http_chunk_receiving()
        content.feed_data(b"event")
        content.end_http_chunk_receiving()
        await asyncio.sleep(0)
    content.feed_data(b"stop")

    async with asyncio.timeout(PATIENCE_SECONDS):
        await task
    assert taken == [b"event"] * 100 + [b"stop"]
    assert (content._size, content._cursor, len(content._buffer)) == (0, content.total_bytes, 0)
    assert len(content._http_chunk_splits or ()) <= 1


async def test_a_tap_that_is_stopped_leaves_the_body_to_its_next_reader():
    content, taken = body(), list[bytes]()
    task = await tapped(content, taken)

    content.feed_data(b"stop")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await task
    content.feed_data(b"rest")

    assert await content.readany() == b"rest"


async def test_a_tap_that_is_cancelled_leaves_the_body_to_its_next_reader():
    content, taken = body(), list[bytes]()
    task = await tapped(content, taken)

    task.cancel()
    await asyncio.wait([task])
    content.feed_data(b"rest")

    assert (await content.readany(), taken) == (b"rest", [])


async def test_what_take_raises_is_raised_where_the_flow_is_awaited():
    content = body()

    def fail(data: bytes) -> bool:
        raise ZeroDivisionError

    content.feed_data(b"data")

    with pytest.raises(ZeroDivisionError):
        await Tap.hand_on(content, fail, Silence(60))


@pytest.mark.parametrize("silence", [Silence(60), Silence(60, ping_seconds=0.01, ping=partial(fail, b""))])
async def test_a_tap_whose_taker_or_ping_fails_is_freed_at_once(silence: Silence):
    with garbage() as found:
        for _ in range(TIMES):
            await _fails(silence)

    assert found == {}


async def _fails(silence: Silence) -> None:
    content = body()
    if silence.ping_seconds > PATIENCE_SECONDS:
        content.feed_data(b"data")
    with suppress(ZeroDivisionError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await Tap.hand_on(content, fail, silence)
