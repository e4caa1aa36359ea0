"""One stream of the upstream: its events as they come, from the first that says something on."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

import aiohttp

from gptdock.aiohttp_private.pool import Pool
from gptdock.aiohttp_private.tap import Silence, Take, Tap, unread
from gptdock.errors import APIError, UpstreamError, UpstreamLost, UpstreamTimeout
from gptdock.upstream import answers, complaints, meter
from gptdock.upstream.answers import Answer
from gptdock.upstream.exchange import Exchange
from gptdock.upstream.flow import hand_on_plainly
from gptdock.upstream.format import Format
from gptdock.upstream.sse import BOM, Event, EventSplitter, EventTooLarge

MOST_SPACE = 2**16  # bytes, before the first event
REST_SECONDS = 0.1  # for the end of the body after [DONE]


class Taker(Protocol):
    """What is to have the events of a stream. Either method returns whether it wants more."""

    def take(self, events: list[Event]) -> bool:
        """Have these events."""

    def take_alike(self, data: bytes) -> bool | None:
        """Have the bytes of one event if they are like those of an earlier one but for the text; otherwise None."""


HandOn = Callable[[aiohttp.StreamReader, Take, Silence], Awaitable[None]]


class FirstEvent(NamedTuple):
    """How long a stream's first event may take; from its head on, `ping` is awaited after each `ping_seconds`."""

    most_seconds: float
    ping_seconds: float
    ping: Callable[[], Awaitable[None]]


class Stream:
    """The events of one answer. `first` are those that arrived before the stream was handed out.

    `start` is what was read of a body that is no stream.
    """

    __slots__ = (
        "_content",
        "_fault",
        "_form",
        "_has_begun",
        "_is_stopped",
        "_response",
        "_run",
        "_secret",
        "_splitter",
        "first",
        "start",
    )

    def __init__(self, response: aiohttp.ClientResponse, form: Format, secret: str, *, tapped: bool) -> None:
        self.first: list[Event] = []
        self.start = b""
        self._has_begun = self._is_stopped = False
        self._fault: APIError | None = None
        self._response, self._content = response, response.content
        self._splitter = EventSplitter(keeps_names=form.names_events)
        self._form, self._secret = form, secret
        self._run = Tap.hand_on if tapped else hand_on_plainly

    async def begin(self, exchange: Exchange, first: FirstEvent, start: bytes = b"") -> bool:
        """Wait for the first event that says something; `start` was read of the body.

        Returns False if it is no stream, but a whole answer from `self.start` on.
        Raises UpstreamError if it is neither.
        """
        await self._pinging(first, start)
        if not self._has_begun and answers.is_whole(self.start):
            return False
        if not self.first:
            self._take_first(self._unended())
        if not self.first and (fault := self._content.exception()):
            raise UpstreamLost from fault
        if not self.first or not meter.is_chunk(self.first[0]):
            exchange.refused()
            raise UpstreamError
        return True

    def replace(self, answer: Answer) -> None:
        """Have these events, of a whole answer, in place of those that come."""
        try:
            self.first = answers.to_events(answer, self._form)
        except RecursionError:  # whoever reads JSON that deep could not write it
            answer = answer._replace(fault=UpstreamError("The upstream's answer is nested too deeply."))
            self.first = answers.to_events(answer, self._form)
        self._fault = answer.fault

    def take_first(self) -> list[Event]:
        """The first events, once: they need not be kept as long as the stream."""
        first, self.first = self.first, []
        return first

    async def flow(self, taker: Taker, silence: Silence) -> None:
        """Have `taker` take the events that come, at once, until it wants no more.

        Raises UpstreamLost if the body ends or breaks first, UpstreamTimeout after silence, and whatever `taker`
        and `silence.ping` raise.
        """
        self._is_stopped = False
        try:
            await self._run(self._content, partial(self._hand, taker), silence)
        except EventTooLarge as exc:
            raise UpstreamLost from exc
        except TimeoutError as exc:
            raise UpstreamTimeout from exc
        if not self._is_stopped and (not (last := self._unended()) or taker.take(last)):
            raise self._fault or UpstreamLost from self._content.exception()

    def failure(self, error: dict[str, Any]) -> APIError:
        """The error of an event as ours."""
        return complaints.to_error(complaints.read(error, secret=self._secret))

    def received(self) -> list[Event]:
        """The whole events that arrived and were not taken, such as those before a cut."""
        try:
            return self._splitter.feed(unread(self._content)) + self._unended()
        except EventTooLarge:
            return []

    async def behind_error(self) -> list[Event]:
        """The events that follow an error within REST_SECONDS."""
        events: list[Event] = []
        with suppress(aiohttp.ClientError, OSError, EventTooLarge):  # TimeoutError is an OSError
            async with asyncio.timeout(REST_SECONDS):
                while piece := await self._content.readany():
                    events += self._splitter.feed(piece)
        return events

    async def rest(self) -> None:
        """After the last event: wait up to REST_SECONDS for the end of the body, to use the connection again."""
        Pool.keep(self._response)
        if self._content.is_eof():
            return
        try:
            async with asyncio.timeout(REST_SECONDS):
                while await self._content.readany():
                    pass
        except (aiohttp.ClientError, OSError):  # the answer was whole; only the connection is lost
            return

    def close(self) -> None:
        """Close the connection, unless the body ended and it may be used again."""
        self._response.close()

    def _take_start(self, data: bytes) -> bool | None:
        """As Take: stops at the first event that says something, or if the body is no stream."""
        if self._has_begun:
            return self._take_bytes(data, self._take_first)
        self.start += data
        if answers.is_whole(self.start):
            return None
        if len(self.start) < MOST_SPACE and (not self.start.strip() or BOM.startswith(self.start)):
            return False
        self._has_begun = True
        start, self.start = self.start, b""
        return self._take_bytes(start, self._take_first)

    def _take_first(self, events: list[Event]) -> bool:
        silent = [meter.says_nothing(event) for event in events]
        self.first = events[silent.index(False) :] if False in silent else []
        return not self.first

    async def _pinging(self, first: FirstEvent, start: bytes) -> None:
        if start and self._take_start(start) is None:
            return
        while True:
            with suppress(TimeoutError):
                try:
                    await hand_on_plainly(self._content, self._take_start, Silence(first.ping_seconds))
                except EventTooLarge as exc:
                    raise UpstreamLost from exc
                return
            await first.ping()

    def _unended(self) -> list[Event]:
        """The last event, if its data is whole and only the blank line behind it is missing."""
        return [event for event in self._splitter.feed(b"\n\n") if event.data and meter.is_chunk(event)]

    def _hand(self, taker: Taker, data: bytes) -> bool | None:
        """As Take."""
        if not self._splitter.pending and (goes_on := taker.take_alike(data)) is not None:
            self._is_stopped = not goes_on
            return goes_on or None
        return self._take_bytes(data, taker.take)

    def _take_bytes(self, data: bytes, take: Callable[[list[Event]], bool]) -> bool | None:
        """As Take: has `take` called with whole events, and notes if it stops."""
        events = self._splitter.feed(data)
        if events and not take(events):
            self._is_stopped = True
            return None
        return any(event.data for event in events)
