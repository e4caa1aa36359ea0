"""The body of an upstream's answer: handed on as it comes, without a task that is woken for each part."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp.base_protocol import BaseProtocol

from gptdock.aiohttp_private.pool import Wire

MOST_UNREAD = 2**20  # bytes, after which no more is asked for
MOMENT_SECONDS = 0.05  # in which the loop reads what came while the process stood still
MOST_CHUNK_HEAD = 8  # bytes: the size of a chunk of up to 16 MiB and its line end
Take = Callable[[bytes], bool | None]


@dataclass(frozen=True, slots=True)
class Silence:
    """What becomes of a body without events, in seconds.

    After each `ping_seconds` without an event `ping` is called. The flow ends with TimeoutError after `most_seconds`
    without a sign of life: an event or, if `any_bytes`, any bytes. A process that stood still has had no time to read
    them: its loop may call its timers first. So a flow ends MOMENT_SECONDS after its time, if nothing came by then.
    """

    most_seconds: float
    any_bytes: bool = False
    ping_seconds: float = math.inf
    ping: Callable[[], None] = lambda: None


class Tap:
    """Hands on what comes of a body from the loop's own callbacks, so that no task is woken for each event of a stream.

    It stands where a body's reader would wait. `take` is given bytes; it returns whether they had an event, or None to
    stop. What remains then (more bytes, the end, a break) stays in the body for its next reader.

    OpenAI sends each event as a chunk of HTTP. A read that is one whole chunk is handed on past aiohttp's parser, which
    never sees it: before it and after it the parser is where it was, between two chunks. Any other read it parses.
    """

    __slots__ = (
        "_alive_at",
        "_content",
        "_end",
        "_event_at",
        "_fault",
        "_is_between",
        "_loop",
        "_read_by",
        "_silence",
        "_soon",
        "_take",
        "_timer",
        "_wire",
    )

    def __init__(self, content: aiohttp.StreamReader, take: Take, silence: Silence) -> None:
        self._content, self._take, self._silence = content, take, silence
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._fault: BaseException | None = None  # what `take` or `ping` raised, until it is raised by `hand_on`
        self._alive_at = self._event_at = self._loop.time()
        self._read_by = -math.inf  # once the last sign of life is too long ago: when the next must have been read
        self._timer = self._loop.call_at(self._due_at(), self._look)
        self._soon = self._is_between = False
        self._wire = content._protocol if isinstance(content._protocol, Wire) else None

    @classmethod
    async def hand_on(cls, content: aiohttp.StreamReader, take: Take, silence: Silence) -> None:
        """Hand on until `take` stops or the body ends. Raises TimeoutError, and what `take` or `ping` raises."""
        tap = cls(content, take, silence)
        if tap._wire is not None:
            tap._wire.tap = tap
        tap._step()
        try:
            await tap._end
            if tap._fault is not None:
                raise tap._fault
        finally:
            tap._fault = None  # it knows the frame in which it was raised, and that the tap: see `gptdock.http`
            tap._timer.cancel()
            if tap._wire is not None:
                tap._wire.tap = None
            if content._waiter is tap:  # type: ignore[comparison-overlap]
                content._waiter = None

    def done(self) -> bool:
        """As a waiting Future answers it: whether it was told already."""
        return self._soon

    def set_result(self, result: None) -> None:
        """As a waiting Future is told that something came; looked at once the parser is done with what it has."""
        self._soon = True
        self._loop.call_soon(self._step)

    def set_exception(self, exc: BaseException) -> None:
        """As a waiting Future is told that the body broke, which the body remembers itself."""
        self.set_result(None)

    def takes(self, data: bytes) -> bool:
        """As Wire.tap: takes a read that is one whole chunk; false if the parser must have it."""
        content = self._content
        if not self._is_between or content._waiter is not self or self._end.done():  # type: ignore[comparison-overlap]
            return False
        end = data.find(b"\r\n", 0, MOST_CHUNK_HEAD)
        size = len(data) - end - 4
        if size <= 0 or data[:end].lower() != b"%x" % size or data[-2:] != b"\r\n":
            return False
        self._hand(data[end + 2 : -2])
        return True

    def parsed(self, data: bytes) -> None:
        """As Wire.tap: the parser has had this read, and may have woken us."""
        content, wire = self._content, self._wire
        splits = content._http_chunk_splits
        # The head of a chunk never ends so; its body and the line end behind it do.
        self._is_between = (
            data[-3:] == b"\n\r\n"
            and bool(splits and splits[-1] == content.total_bytes)
            and content.total_compressed_bytes is None
            and wire is not None
            and wire.exception() is None
            and wire.read_timeout is None  # aiohttp's own, which only a read through the parser puts off
        )

    def _step(self) -> None:
        self._soon = False
        if self._end.done():
            return
        content = self._content
        if (data := unread(content)) and not self._hand(data):
            return
        if content._buffer:  # more than is taken at once: others have their turn first
            self.set_result(None)
        elif content.is_eof() or content.exception():
            self._end.set_result(None)
        else:
            content._waiter = self  # type: ignore[assignment]

    def _hand(self, data: bytes) -> bool:
        """False if this was the last that is to be handed on."""
        try:
            has_event = self._take(data)
        except BaseException as exc:
            self._fail(exc)
            return False
        if has_event:
            self._alive_at = self._event_at = self._loop.time()
        elif has_event is None:
            self._end.set_result(None)
            return False
        elif self._silence.any_bytes:
            self._alive_at = self._loop.time()
        return True

    def _fail(self, fault: BaseException) -> None:
        self._fault = fault
        self._end.set_result(None)

    def _look(self) -> None:
        """One timer a stream, armed again only when it is due: to move it for each event would cost 4 us."""
        if self._end.done():  # nothing may follow the end
            return
        try:
            self._ping_or_end()
        except BaseException as exc:
            self._fail(exc)
            return
        self._timer = self._loop.call_at(self._due_at(), self._look)

    def _ping_or_end(self) -> None:
        now, end_at = self._loop.time(), self._alive_at + self._silence.most_seconds
        if now >= end_at and not self._soon:
            if self._read_by <= end_at:
                self._read_by = now + MOMENT_SECONDS
            elif now >= self._read_by:
                raise TimeoutError
        if now >= self._event_at + self._silence.ping_seconds:
            self._event_at = now
            self._silence.ping()

    def _due_at(self) -> float:
        end_at = max(self._alive_at + self._silence.most_seconds, self._read_by)
        return min(end_at, self._event_at + self._silence.ping_seconds)


def can_tap() -> bool:
    """Whether a body wakes a Tap as this module expects: by data, its end and a break. Call it in a running loop."""
    wakes: tuple[Callable[[aiohttp.StreamReader], object], ...] = (
        lambda content: content.feed_data(b"data"),
        lambda content: content.feed_eof(),
        lambda content: content.set_exception(aiohttp.ClientPayloadError()),
    )
    try:
        return all(_wakes_a_tap(wake) for wake in wakes) and _tells_chunks()
    except (AttributeError, TypeError):
        return False


def _wakes_a_tap(wake: Callable[[aiohttp.StreamReader], object]) -> bool:
    content = aiohttp.StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
    tap = Tap(content, lambda data: True, Silence(1))
    try:
        tap._step()
        wake(content)
        return tap.done() and content._waiter is None and unread(content) in (b"data", b"")
    finally:
        tap._timer.cancel()
        tap._end.cancel()


def _tells_chunks() -> bool:
    """Whether a body notes the end of a chunk once the line end behind it is parsed, and not before."""
    wire = Wire(asyncio.get_running_loop())
    wire.set_response_params()
    wire.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    noted = []
    for part in (b"2\r\n{}", b"\r", b"\n"):
        wire.data_received(part)
        noted.append(list(wire._payload._http_chunk_splits or ()) if wire._payload else None)
    return noted == [[], [], [2]]


def unread(content: aiohttp.StreamReader) -> bytes:
    """What has arrived of a body and was not read yet, without waiting, also if the connection broke since.

    All of it, unless it is more than MOST_UNREAD: a few packed bytes may become many.
    """
    # Not `read_nowait`: on a broken connection it raises, and what arrived before the break stays in the buffer. Again
    # until nothing is left: each read may resume the parser, which fills the buffer with what it had kept back.
    data = content._read_nowait(-1)
    while content._buffer and len(data) < MOST_UNREAD:
        data += content._read_nowait(-1)
    return data
