"""Calls OpenAI: deadlines, retries, and translation of its faults into our errors.

What a request may have generated is noted in its `Exchange`, however it ends: nothing if it was refused, and something
if the connection broke after it was sent.
"""

import asyncio
import errno
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import aiohttp

from gptdock.aiohttp_private.pool import Pool
from gptdock.aiohttp_private.tap import Silence, Take, Tap, can_tap, unread
from gptdock.aiohttp_private.watch import BodyWatch
from gptdock.errors import APIError, UpstreamError, UpstreamLost, UpstreamTimeout
from gptdock.settings import Settings
from gptdock.telemetry import metrics, request_line
from gptdock.upstream import answers, bodies, complaints, meter, refusals, retry, trace
from gptdock.upstream.answers import Answer
from gptdock.upstream.exchange import Body, Exchange
from gptdock.upstream.flow import hand_on_plainly
from gptdock.upstream.format import Format
from gptdock.upstream.proxies import proxy_for
from gptdock.upstream.refusals import Refusal
from gptdock.upstream.sse import Event, EventSplitter, EventTooLarge

log = logging.getLogger(__name__)

MOST_FIELD_BYTES = 64 * 2**10  # of a header: an answer whose headers cannot be read can only be charged by count
REST_SECONDS = 0.1  # for the end of the body after [DONE]


HandOn = Callable[[aiohttp.StreamReader, Take, Silence], Awaitable[None]]


class FirstEvent(NamedTuple):
    """How long a stream's first event may take; from its head on, `ping` is awaited after each `ping_seconds`."""

    most_seconds: float
    ping_seconds: float
    ping: Callable[[], Awaitable[None]]


class Stream:
    """The events of one answer. `first` are those that arrived before the stream was handed out."""

    def __init__(self, response: aiohttp.ClientResponse, form: Format, secret: str, *, tapped: bool) -> None:
        self.first: list[Event] = []
        self._response, self._content = response, response.content
        self._splitter = EventSplitter(keeps_names=form.names_events)
        self._secret = secret
        self._run = Tap.hand_on if tapped else hand_on_plainly

    async def begin(self, exchange: Exchange, first: FirstEvent) -> None:
        """Wait for the first event that says something. Raises UpstreamError if what comes is not a stream."""

        def take(events: list[Event]) -> bool:
            silent = [not event.data or meter.says_nothing(event.data) for event in events]
            self.first = events[silent.index(False) :] if False in silent else []
            return not self.first

        await self._flow_pinging(take, first)
        data = self.first[0].data if self.first else None
        if data is None and (fault := self._content.exception()):
            raise UpstreamLost from fault
        if not meter.is_chunk(data):
            exchange.refused()
            raise UpstreamError

    async def flow(self, take: Callable[[list[Event]], bool], silence: Silence) -> None:
        """Have `take` called with the events that come, at once, until it returns False.

        Raises UpstreamLost if the body ends or breaks first, UpstreamTimeout after silence, and whatever `take`
        and `silence.ping` raise.
        """
        if not await self._flow(take, self._run, silence):
            raise UpstreamLost from self._content.exception()

    def failure(self, error: dict[str, Any]) -> APIError:
        """The error of an event as ours."""
        return complaints.to_error(complaints.read(error), secret=self._secret)

    def received(self) -> list[Event]:
        """The whole events that arrived and were not taken, such as those before a cut."""
        try:
            return self._splitter.feed(unread(self._content))
        except EventTooLarge:
            return []

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

    async def _flow_pinging(self, take: Callable[[list[Event]], bool], first: FirstEvent) -> None:
        while True:
            with suppress(UpstreamTimeout):
                await self._flow(take, hand_on_plainly, Silence(first.ping_seconds))
                return
            await first.ping()

    async def _flow(self, take: Callable[[list[Event]], bool], hand_on: HandOn, silence: Silence) -> bool:
        """Whether `take` stopped the flow; otherwise the body ended or broke."""
        stopped = False

        def take_bytes(data: bytes) -> bool | None:
            nonlocal stopped
            events = self._splitter.feed(data)
            if events and not take(events):
                stopped = True
                return None
            return any(event.data for event in events)

        try:
            await hand_on(self._content, take_bytes, silence)
        except EventTooLarge as exc:
            raise UpstreamLost from exc
        except TimeoutError as exc:
            raise UpstreamTimeout from exc
        return stopped


class Upstream:
    """OpenAI, or the server at OPENAI_BASE_URL that replaces it."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self._session, self._settings = session, settings
        self._budget = retry.Budget()
        self._bodies = BodyWatch()
        self._tapped = can_tap()
        if not self._tapped:
            log.warning("this aiohttp cannot be tapped: streams take the slower way")

    @asynccontextmanager
    async def open_stream(
        self, form: Format, body: bytes, exchange: Exchange, first: FirstEvent
    ) -> AsyncIterator[Stream]:
        """The stream that answers `body`, once its first event arrived. Its connection is closed at the end.

        Raises what became of the request instead: any error that `refusals` knows, UpstreamLost or UpstreamTimeout,
        and whatever `first.ping` raises.
        """
        response = None
        try:
            try:
                async with asyncio.timeout(first.most_seconds):
                    response = await self._post(form, body, exchange)
                    stream = Stream(response, form, self._settings.open_ai_key, tapped=self._tapped)
                    if bodies.sends(response, exchange, bodies.EVENTS):
                        exchange.is_heard = True
                        await stream.begin(exchange, first)
                    else:
                        stream.first = answers.to_events(await self._read(response, form, exchange), form)
            except TimeoutError as exc:
                raise UpstreamTimeout from exc
            yield stream
        finally:
            if response is not None:
                response.close()

    async def complete(self, form: Format, body: bytes, exchange: Exchange) -> Answer:
        """The whole answer to `body`. Raises as `open_stream` does, but has no deadline of its own."""
        response = await self._post(form, body, exchange)
        try:
            bodies.sends(response, exchange, bodies.JSON)
            return await self._read(response, form, exchange)
        finally:
            response.close()

    async def _read(self, response: aiohttp.ClientResponse, form: Format, exchange: Exchange) -> Answer:
        try:
            answer = await bodies.read_answer(response, form)
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as exc:
            raise UpstreamLost from exc
        if answer is not None and answer.is_answer:
            Pool.keep(response)
            return answer
        exchange.refused()
        raise complaints.to_error(complaints.read(answer and answer.content), secret=self._settings.open_ai_key)

    async def _post(self, form: Format, body: bytes, exchange: Exchange) -> aiohttp.ClientResponse:
        self._budget.first_attempt()
        retries = 0
        while True:
            with metrics.Timed(metrics.UPSTREAM) as timer:
                outcome = await self._attempt(form, body, exchange)
                timer.outcome = "" if isinstance(outcome, aiohttp.ClientResponse) else outcome.error.code
            if isinstance(outcome, aiohttp.ClientResponse):
                return outcome
            seconds = retry.pause(retries, outcome.after, random.random) if outcome.again else None
            if seconds is None or not self._budget.take():
                raise outcome.error
            await asyncio.sleep(seconds)
            retries += 1

    async def _attempt(self, form: Format, body: bytes, exchange: Exchange) -> aiohttp.ClientResponse | Refusal:
        url = f"{self._settings.openai_base_url}{form.path}"
        try:
            response = await self._session.post(
                url, data=Body(body, exchange), headers=exchange.headers, allow_redirects=False
            )
        except aiohttp.ClientConnectorError as exc:
            exchange.refused()
            return refusals.failed(exc, UpstreamError(), again=exc.errno in (errno.ECONNREFUSED, errno.ECONNRESET))
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
            exchange.lost()
            return refusals.failed(exc, UpstreamLost(), again=True)
        except (aiohttp.ClientError, OSError) as exc:  # a connect time-out, or an answer that cannot be read
            return refusals.failed(exc, UpstreamError(), again=False)
        if upstream_id := trace.request_id(response.headers):
            request_line.current().note(upstream_request_id=upstream_id)
        if Pool.is_doubtful(response):
            response.close()
            exchange.lost()
            return refusals.failed(ConnectionError(), UpstreamLost(), again=True)
        if response.status == 200:
            self._bodies.watch(response)
            return response
        exchange.refused()
        return await refusals.refusal(response, self._settings.open_ai_key)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Upstream]:
    """The upstream, over one session for the life of the process."""
    async with aiohttp.ClientSession(
        connector=Pool(limit=0),  # MAX_STREAMS bounds it, not aiohttp's pool of 100
        timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout),
        headers={
            "Authorization": f"Bearer {settings.open_ai_key}",
            "Accept-Encoding": "identity",
        },
        max_field_size=MOST_FIELD_BYTES,
        proxy=proxy_for(settings.openai_base_url),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Upstream(session, settings)
