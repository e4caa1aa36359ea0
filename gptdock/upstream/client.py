"""Calls OpenAI's chat completions: deadlines, retries, and its faults made our errors.

What came of a request is noted in its `Exchange`, on every way out. A refusal generates nothing; a connection that
breaks after the request was sent may have.
"""

import asyncio
import errno
import json
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from gptdock.aiohttp_private import BodyWatch, unread
from gptdock.errors import UpstreamError, UpstreamLost, UpstreamTimeout
from gptdock.settings import Settings
from gptdock.telemetry import metrics
from gptdock.upstream import meter, refusals, retry
from gptdock.upstream.exchange import Body, Exchange
from gptdock.upstream.refusals import Refusal
from gptdock.upstream.sse import Event, EventSplitter, EventTooLarge

log = logging.getLogger(__name__)

MOST_ANSWER_BYTES = 16 * 2**20
MOST_FIELD_BYTES = 64 * 2**10  # of a header: an answer whose head is not understood can only be charged by count
REST_SECONDS = 0.1  # for what follows [DONE], so that the connection can be used again


class Answer(NamedTuple):
    """A whole answer: as it came, and parsed."""

    raw: bytes
    content: dict[str, Any]


class Stream:
    """The events of one answer."""

    def __init__(self, response: aiohttp.ClientResponse, event_timeout: float) -> None:
        self._content = response.content
        self._splitter = EventSplitter()
        self._event_timeout = event_timeout
        self._first: list[Event] = []

    async def read(self) -> list[Event]:
        """The whole events that came next, none at the end of the body. Raises UpstreamLost, UpstreamTimeout."""
        if self._first:
            events, self._first = self._first, []
            return events
        try:
            async with asyncio.timeout(self._event_timeout):
                return await self._next()
        except TimeoutError as exc:
            raise UpstreamTimeout from exc

    async def begin(self, exchange: Exchange) -> None:
        """Wait for the first event. Raises UpstreamError if what comes is no stream."""
        self._first = await self._next()
        data = next((event.data for event in self._first if event.data), None)
        if not meter.is_chunk(data):
            exchange.refused()
            raise UpstreamError

    def received(self) -> list[Event]:
        """The whole events that are here already, unread: those that came before an answer was cut."""
        try:
            return self._first + self._splitter.feed(unread(self._content))
        except EventTooLarge:
            return self._first

    async def rest(self) -> None:
        """Read what follows the last event, shortly: usually the end of the body."""
        try:
            async with asyncio.timeout(REST_SECONDS):
                while await self._content.readany():
                    pass
        except (aiohttp.ClientError, OSError):  # the answer was whole; only the connection is lost
            return

    async def _next(self) -> list[Event]:
        try:
            while data := await self._content.readany():
                events = self._splitter.feed(data)
                if any(event.data for event in events):  # comments do not count as a sign of life
                    return events
        except (aiohttp.ClientError, OSError, EventTooLarge) as exc:
            if events := self.received():
                return events  # the break is told by the next read
            raise UpstreamLost from exc
        return []


class Upstream:
    """OpenAI, or what stands in for it at OPENAI_BASE_URL."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self._session, self._settings = session, settings
        self._url = f"{settings.openai_base_url}/chat/completions"
        self._budget = retry.Budget()
        self._bodies = BodyWatch()

    @asynccontextmanager
    async def open_stream(self, body: bytes, exchange: Exchange) -> AsyncIterator[Stream]:
        """The stream that answers `body`, once its first event came; its connection is closed at the end.

        Raises what became of the request instead: any error that `refusals` knows, UpstreamLost or UpstreamTimeout.
        """
        response = None
        try:
            try:
                async with asyncio.timeout(self._settings.first_event_timeout):
                    response = await self._post(body, exchange, "text/event-stream")
                    stream = Stream(response, self._settings.event_timeout)
                    await stream.begin(exchange)
            except TimeoutError as exc:
                raise UpstreamTimeout from exc
            yield stream
        finally:
            if response is not None:
                response.close()

    async def complete(self, body: bytes, exchange: Exchange) -> Answer:
        """The whole answer to `body`. Raises as `open_stream` does, but knows no deadline."""
        response = await self._post(body, exchange, "application/json")
        try:
            raw = await refusals.read(response, MOST_ANSWER_BYTES)
            content = json.loads(raw or b"null")  # nothing at all was generated, if nothing came
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as exc:
            raise UpstreamLost from exc
        finally:
            response.close()
        if not isinstance(content, dict) or not ("choices" in content or meter.sane_usage(content.get("usage"))):
            exchange.refused()
            raise UpstreamError
        return Answer(raw, content)

    async def _post(self, body: bytes, exchange: Exchange, content_type: str) -> aiohttp.ClientResponse:
        self._budget.first_try()
        retries = 0
        while True:
            with metrics.Timed(metrics.UPSTREAM) as timer:
                outcome = await self._try(body, exchange)
                timer.outcome = "" if isinstance(outcome, aiohttp.ClientResponse) else outcome.error.code
            if isinstance(outcome, aiohttp.ClientResponse):
                return _expect(outcome, content_type, exchange)
            seconds = retry.pause(retries, outcome.after, random.random) if outcome.again else None
            if seconds is None or not self._budget.take():
                raise outcome.error
            await asyncio.sleep(seconds)
            retries += 1

    async def _try(self, body: bytes, exchange: Exchange) -> aiohttp.ClientResponse | Refusal:
        try:
            response = await self._session.post(self._url, data=Body(body, exchange), allow_redirects=False)
        except aiohttp.ClientConnectorError as exc:
            exchange.refused()
            return refusals.failed(exc, UpstreamError(), again=exc.errno in (errno.ECONNREFUSED, errno.ECONNRESET))
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
            exchange.lost()
            return refusals.failed(exc, UpstreamLost(), again=True)
        except (aiohttp.ClientError, OSError) as exc:  # a connect time-out, or an answer that is no HTTP
            exchange.lost()
            return refusals.failed(exc, UpstreamError(), again=False)
        if response.status == 200:
            self._bodies.watch(response)
            return response
        exchange.refused()
        return await refusals.refusal(response)


def _expect(response: aiohttp.ClientResponse, content_type: str, exchange: Exchange) -> aiohttp.ClientResponse:
    # Not `response.content_type`: aiohttp reads that with email's parser, which takes seconds for some headers.
    sent = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if sent == content_type:
        return response
    response.close()
    exchange.refused()
    log.error("upstream sent another content type", extra={"content_type": refusals.name(sent)})
    raise UpstreamError


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Upstream]:
    """The upstream, over one session for the life of the process."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),  # MAX_STREAMS bounds it, not aiohttp's pool of 100
        timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout),
        headers={
            "Authorization": f"Bearer {settings.open_ai_key}",
            "Accept-Encoding": "identity",
        },
        auto_decompress=False,
        max_field_size=MOST_FIELD_BYTES,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Upstream(session, settings)
