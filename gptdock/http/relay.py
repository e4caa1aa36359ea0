"""One completion, from hold to settlement: passes the upstream's answer to the caller as it arrives.

Two rules hold it together. The client is charged what the upstream reports; an answer that is cut is counted: prompt,
text of the whole events that arrived, and unseen time (`gptdock.ledger`, section 6). A hold ends exactly once: settled,
released, or swept after its lease expired.

After the first byte the status cannot change: an error becomes an event, and the body ends without `[DONE]`. That is
sent if and only if the upstream sent it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web

from gptdock.errors import APIError, CallerGone, RateLimited
from gptdock.http import hidden
from gptdock.http.app_keys import TRACEPARENT, Services
from gptdock.http.caller import Caller
from gptdock.http.cost import Cost
from gptdock.http.overrun import Overrun
from gptdock.http.passage import Passage
from gptdock.http.patience import Patience
from gptdock.http.told import let_go, told
from gptdock.http.whole import send_whole
from gptdock.ledger.book import Outcome
from gptdock.ledger.holds import Claim, Hold
from gptdock.prompt.tokens import Tokens
from gptdock.telemetry import metrics, request_line
from gptdock.upstream.answers import Answer
from gptdock.upstream.exchange import Exchange
from gptdock.upstream.format import Format
from gptdock.upstream.meter import Meter
from gptdock.upstream.sse import Event
from gptdock.upstream.stream import Stream

log = logging.getLogger(__name__)

STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


@dataclass(slots=True)
class Completion:
    """What a route asks for. `body` returns the upstream's request for an answer of at most so many tokens."""

    form: Format
    claim: Claim
    body: Callable[[int], bytes]
    stream: bool
    show_usage: bool = False
    callers_words: bool = False  # True: the caller wrote the body, so what the upstream says of it is the caller's

    def take_body(self, tokens: int) -> bytes:
        """That request, once: a stream may last for minutes, and does not keep its question as long."""
        body = self.body
        del self.body
        return body(tokens)


async def relay(request: web.Request, services: Services, completion: Completion) -> web.StreamResponse:
    """Answer the request with the completion, whole or as a stream, and charge the client for it.

    Raises any APIError, as long as no byte of an answer was sent.
    """
    async with services.ledger.hold(completion.claim, stream=completion.stream) as hold:
        meter = Meter(completion.form, show_usage=completion.show_usage)
        exchange, secret = Exchange(request[TRACEPARENT]), services.settings.open_ai_key
        with Bill(hold, services.tokens, meter, completion, exchange, secret) as bill:
            serve = _stream if completion.stream else _whole
            try:
                return await serve(request, services, completion, bill)
            except APIError as exc:
                raise bill.told(exc) from exc.__cause__


class Bill:
    """What a completion has cost so far. On every way out of its block, the hold is settled by it."""

    def __init__(
        self, hold: Hold, tokens: Tokens, meter: Meter, asked: Completion, exchange: Exchange, secret: str
    ) -> None:
        self.hold, self.meter, self.exchange = hold, meter, exchange
        self.cost = Cost(hold, tokens, meter, exchange, comes_at_once=not asked.stream)
        self.outcome: Outcome | None = None
        self.done_shown = False
        self._secret = secret
        self.form, self._callers_words = asked.form, asked.callers_words
        self._began, self._shown = time.monotonic(), False
        self.overrun = Overrun(meter, hold.completion_tokens, tokens.counter(hold.claim.model))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        outcome = self.outcome or _outcome(exc, self.meter.done)
        claim = self.hold.claim
        metrics.inference_ended(claim.operation, claim.model, outcome, time.monotonic() - self._began)
        if self.meter.odd_usage:
            log.warning("upstream reported an odd usage")
        if (usage := self.cost.reported()) and (usage.total_tokens or self.exchange.attempts):
            self.hold.settle(self.cost.exact(usage), outcome)
        elif self.meter.has_text or self.exchange.attempts:
            self.hold.settle_later(self.cost.count(self.exchange.seconds), outcome)
        else:
            self.hold.release(outcome)
            return
        if isinstance(exc, APIError):
            exc.should_retry = False

    @property
    def _is_free(self) -> bool:
        usage = self.cost.reported()
        return not (self.exchange.attempts or self.meter.has_text or (usage and usage.total_tokens))

    def read(self, events: list[Event]) -> bytes:
        """Read these events, and return the bytes of those that the caller may get."""
        meter = self.meter
        thought = meter.thinks
        pieces = [event.raw for event in events if meter.read(event)]
        if self.form.names_events:  # these may tell errors elsewhere than in events of their own
            pieces = [hidden.event(raw, self._secret) if b'"error"' in raw else raw for raw in pieces]
        if meter.thinks is not thought:
            self.cost.turns(thinks=meter.thinks)
        return b"".join(pieces)

    def show(self, events: list[Event]) -> bytes:
        """Read these events, and return what the caller gets of them; that must be sent at once.

        Raises UpstreamError if the text is far beyond the limit that the upstream was given.
        """
        shown = self.read(events)
        self.overrun.note(len(shown), self.meter.text_bytes)
        if self.meter.error is not None and not self.meter.begun:
            self.exchange.refused()
            return b""
        if shown:
            self.done_shown = self.meter.done
            if not self._shown:
                self._first_shown()
        return shown

    def told(self, error: APIError) -> APIError:
        """What the caller is told of this error: in the upstream's words, if the caller wrote the request."""
        if isinstance(error, RateLimited):  # the books are known, and clients read both errors with this status alike
            quota = self.hold.quota
            error.quota = quota.given_back(self.hold.tokens) if self._is_free else quota
        return error.rejection if self._callers_words and error.rejection else error

    def error_event(self, error: APIError, request: web.Request) -> bytes:
        """The event that tells the caller of this error."""
        return self.form.error_event(told(request, self.told(error)), self.meter.next_number)

    def read_answer(self, answer: Answer) -> None:
        """Read a whole answer."""
        self.meter.read_answer(answer.content, answer.raw)
        self.meter.done = not answer.fault
        self.cost.turns(thinks=False)

    def _first_shown(self) -> None:
        self._shown = True
        request_line.current().first_event()
        claim = self.hold.claim
        metrics.first_chunk(claim.operation, claim.model, time.monotonic() - self._began)


async def _whole(request: web.Request, services: Services, asked: Completion, bill: Bill) -> web.StreamResponse:
    body = asked.take_body(bill.hold.completion_tokens)
    with services.gate.deadline():
        answer = await services.upstream.complete(bill.form, body, bill.exchange)
    bill.read_answer(answer)
    if answer.fault:
        raise answer.fault
    raw = hidden.answer(answer.raw, services.settings.open_ai_key)
    return await send_whole(request, services, raw, _quota_headers(services, bill))


async def _stream(request: web.Request, services: Services, asked: Completion, bill: Bill) -> web.StreamResponse:
    response = web.StreamResponse(headers=STREAM_HEADERS | _quota_headers(services, bill))
    caller = Caller(request, services.settings, response)
    patience = Patience(services.settings, bill.hold.claim.model, caller)
    try:
        try:
            with services.gate.deadline():
                stream = await services.upstream.open_stream(
                    bill.form, asked.take_body(bill.hold.completion_tokens), bill.exchange, patience.first_event
                )
                with closing(stream):
                    await _pump(stream, bill, caller, patience)
                    await caller.end()
                    await stream.rest()
        except APIError as exc:
            if not response.prepared:
                raise
            let_go(exc)
            bill.outcome = "complete" if caller.ended else exc.code
            if not bill.done_shown:
                await caller.end(bill.error_event(exc, request))
            elif not caller.ended:  # [DONE] is already being sent: nothing may follow it
                caller.cut()
    except CallerGone as exc:
        bill.outcome = bill.outcome or _outcome(exc, bill.meter.done)
    finally:
        caller.cut_unless_ended()
        bill.cost.held_up = caller.has_waited
    return response


async def _pump(stream: Stream, bill: Bill, caller: Caller, patience: Patience) -> None:
    """Pass events on until [DONE]. Raises UpstreamLost if it does not come, or the upstream's error event as ours."""
    try:
        caller.write_now(bill.show(stream.take_first()))
        await caller.catch_up()
        while not bill.meter.is_over:
            thinks = bill.meter.thinks if patience.may_think else None
            passage = Passage(caller, bill.meter, bill.overrun, bill.show, thinks=thinks)
            await stream.flow(passage, patience.silence(thinks=bool(thinks)))
            await bill.cost.waiting(caller.catch_up())
        if bill.meter.error is not None:
            if not bill.form.ends_by_done:  # the end may follow, and tell what it cost
                bill.read(await stream.behind_error())
            raise stream.failure(bill.meter.error)
    finally:
        if not bill.meter.done:  # cut: what arrived before that was generated, and is charged
            bill.read(stream.received())


def _quota_headers(services: Services, bill: Bill) -> dict[str, str]:
    told = bill.hold.quota.headers(services.store.clock())
    if bill.hold.completion_tokens < bill.hold.claim.completion_tokens:
        told["X-Quota-Limited"] = "1"
    return told


def _outcome(exc: BaseException | None, done: bool) -> Outcome:
    if exc is None or done:
        return "complete"
    if isinstance(exc, APIError):
        return exc.code
    return "caller_left" if isinstance(exc, CallerGone | asyncio.CancelledError) else "internal_error"
