"""Calls OpenAI: deadlines, retries, and translation of its faults into our errors.

What a request may have generated is noted in its `Exchange`, however it ends: nothing if it was refused, and something
if the connection broke after it was sent.
"""

import asyncio
import errno
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from gptdock.aiohttp_private.pool import Pool
from gptdock.aiohttp_private.posting import Poster, can_post
from gptdock.aiohttp_private.tap import can_tap
from gptdock.errors import UpstreamError, UpstreamLost, UpstreamTimeout
from gptdock.settings import Settings
from gptdock.telemetry import metrics, request_line
from gptdock.upstream import answers, bodies, complaints, refusals, retry, trace
from gptdock.upstream.answers import Answer
from gptdock.upstream.exchange import Body, Exchange
from gptdock.upstream.format import Format
from gptdock.upstream.proxies import proxy_for
from gptdock.upstream.refusals import Refusal
from gptdock.upstream.stream import FirstEvent, Stream

log = logging.getLogger(__name__)

MOST_FIELD_BYTES = 64 * 2**10  # of a header: an answer whose headers cannot be read can only be charged by count


class Upstream:
    """OpenAI, or the server at OPENAI_BASE_URL that replaces it."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings, *, proxied: bool) -> None:
        self._session, self._settings = session, settings
        self.last = "unknown"  # how the upstream answered last: `complete`, or the code of the error
        self._budget = retry.Budget()
        self._tapped = can_tap()
        if not self._tapped:
            log.warning("this aiohttp cannot be tapped: streams take the slower way")
        self._posts = not proxied and can_post(session)
        if not (proxied or self._posts):
            log.warning("this aiohttp cannot be posted with: requests take the slower way")
        self._posters: dict[str, Poster] = {}  # by URL

    async def open_stream(self, form: Format, body: bytes, exchange: Exchange, first: FirstEvent) -> Stream:
        """The stream that answers `body`, once its first event arrived; to be closed.

        Raises what became of the request instead: any error that `refusals` knows, UpstreamLost or UpstreamTimeout,
        and whatever `first.ping` raises.
        """
        stream, is_open = None, False
        try:
            async with asyncio.timeout(first.most_seconds):
                response, failed = await self._post(form, body, exchange)
                del body  # nothing is sent again, and a model may think for minutes from here on
                stream = Stream(response, form, self._settings.open_ai_key, tapped=self._tapped)
                if failed:
                    stream.replace(failed)
                else:
                    await self._begin(stream, response, form, exchange, first)
            Pool.forget_beginning(response)
            is_open = True
            return stream
        except TimeoutError as exc:
            raise UpstreamTimeout from exc
        finally:
            if stream is not None and not is_open:
                stream.close()

    async def complete(self, form: Format, body: bytes, exchange: Exchange) -> Answer:
        """The whole answer to `body`. Raises as `open_stream` does, but has no deadline of its own."""
        response, failed = await self._post(form, body, exchange)
        if failed:
            return failed
        try:
            bodies.check(response, bodies.JSON)
            return await self._read(response, form, exchange, form.most_bytes)
        finally:
            response.close()

    async def _begin(
        self, stream: Stream, response: aiohttp.ClientResponse, form: Format, exchange: Exchange, first: FirstEvent
    ) -> None:
        bodies.check(response, bodies.EVENTS)
        is_json, start = bodies.content_type(response) == bodies.JSON, b""
        if is_json:
            with suppress(aiohttp.ClientError, OSError):  # `_read` will raise it
                start = await bodies.read_start(response)
        if not is_json or answers.is_stream(start):
            exchange.is_heard = True
            if await stream.begin(exchange, first, start):
                return
            exchange.is_heard, start = False, stream.start
        stream.replace(await self._read(response, form, exchange, bodies.MOST_STREAMED_BYTES, start))

    async def _read(
        self, response: aiohttp.ClientResponse, form: Format, exchange: Exchange, most: int, start: bytes = b""
    ) -> Answer:
        try:
            answer = await bodies.read_answer(response, form, most, start)
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as exc:
            raise UpstreamLost from exc
        if answer is not None and not answer.is_error:
            Pool.keep(response)
            return answer
        error = complaints.to_error(complaints.read(answer and answer.content, secret=self._settings.open_ai_key))
        if answer is None or not answer.is_answer:
            exchange.refused()
            raise error
        return answer._replace(fault=error)

    async def _post(
        self, form: Format, body: bytes, exchange: Exchange
    ) -> tuple[aiohttp.ClientResponse, Answer | None]:
        """The response, to be read, or of one with an error's status what was generated in spite of that."""
        self._budget.first_attempt()
        retries = 0
        while True:
            with metrics.Timed(metrics.UPSTREAM) as timer:
                outcome = await self._attempt(form, body, exchange)
                timer.outcome = "" if isinstance(outcome, aiohttp.ClientResponse) else outcome.error.code
                self.last = timer.outcome or "complete"
            if isinstance(outcome, aiohttp.ClientResponse):
                return outcome, None
            if outcome.generated:
                return outcome.generated
            seconds = retry.pause(retries, outcome.after, random.random) if outcome.again else None
            if seconds is None or not self._budget.take():
                raise outcome.error
            await asyncio.sleep(seconds)
            retries += 1

    async def _attempt(self, form: Format, body: bytes, exchange: Exchange) -> aiohttp.ClientResponse | Refusal:
        url = f"{self._settings.openai_base_url}{form.path}"
        try:
            response = await self._send(url, body, exchange)
        except aiohttp.ClientConnectorError as exc:
            exchange.refused()
            return refusals.failed(exc, UpstreamError(), again=exc.errno in (errno.ECONNREFUSED, errno.ECONNRESET))
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
            exchange.lost()
            return refusals.failed(exc, UpstreamLost(), again=True)
        except (aiohttp.ClientError, OSError) as exc:  # a connect time-out, or an answer that cannot be read
            return refusals.failed(exc, UpstreamError(), again=False)
        if upstream_id := trace.request_id(response.headers):
            request_line.current().fields["upstream_request_id"] = upstream_id
        if Pool.is_doubtful(response):
            response.close()
            exchange.lost()
            return refusals.failed(ConnectionError(), UpstreamLost(), again=True)
        if 200 <= response.status < 300:  # some upstreams answer 201
            Pool.watch(response)
            return response
        exchange.refused()
        refusal = await refusals.refusal(response, self._settings.open_ai_key, form)
        if refusal.generated:
            exchange.generated()
        return refusal

    async def _send(self, url: str, body: bytes, exchange: Exchange) -> aiohttp.ClientResponse:
        if not self._posts:
            data = Body(body, exchange)
            return await self._session.post(url, data=data, headers=exchange.headers, allow_redirects=False)
        if (poster := self._posters.get(url)) is None:
            poster = self._posters[url] = Poster(self._session, url)
        return await poster.post(body, exchange.headers, exchange.begin)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Upstream]:
    """The upstream, over one session for the life of the process."""
    proxy = proxy_for(settings.openai_base_url)
    async with aiohttp.ClientSession(
        connector=Pool(limit=0),  # MAX_STREAMS bounds it, not aiohttp's pool of 100
        timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout),
        headers={
            "Authorization": f"Bearer {settings.open_ai_key}",
            "Accept-Encoding": "identity",
        },
        max_field_size=MOST_FIELD_BYTES,
        proxy=proxy,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Upstream(session, settings, proxied=proxy is not None)
