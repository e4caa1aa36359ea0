"""What a hold is and when it ends: taken before the upstream is called, and ended exactly once.

A hold is settled by what was really used, or released; if this process is lost, it is swept when the lease expires.
To end one is a plain call, which nothing can cancel: the loop of its book carries it out. A charge that has yet to be
counted is a task of the ledger. `settled` awaits all of them.
"""

import asyncio
import itertools
import logging
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import NamedTuple, Self

from gptdock import moments
from gptdock.accounts import Account
from gptdock.errors import ClientNotFound
from gptdock.ledger import periods
from gptdock.ledger.book import MARGIN_TOKENS, Book, Demand, Outcome, Receipt
from gptdock.ledger.book_loop import BookLoop
from gptdock.ledger.books import Books
from gptdock.ledger.charges import Charge
from gptdock.ledger.hearing import Hearing
from gptdock.ledger.outbox import Outbox
from gptdock.ledger.rates import Pace, Rate
from gptdock.ledger.rules import Rules
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from gptdock.quotas import Quota
from gptdock.settings import Settings
from gptdock.telemetry import metrics, request_line

log = logging.getLogger(__name__)


class Claim(NamedTuple):
    """What one request asks of its client's quota, in tokens, and what its receipt will say about it."""

    account: Account
    user: str
    model: str
    request_id: str
    prompt_tokens: int
    completion_tokens: int
    operation: str = "chat"  # as metrics name it


class Hold:
    """Tokens reserved for one request, until they are settled or released. Only the first end counts.

    Once entered, `tokens` is what is held, and `quota` the client's after that. `count_used`, if set, returns how many
    tokens were surely used by now: the will of the process is made of it, and of `pace`.
    """

    def __init__(self, ledger: "Ledger", hold_id: int, claim: Claim, pace: Pace) -> None:
        self.claim, self.pace, self.request_id = claim, pace, claim.request_id
        self.tokens: int
        self.quota: Quota
        self.count_used: Callable[[], int] | None = None
        self._ledger, self._id = ledger, hold_id
        self._book_loop: BookLoop  # and `_key`, a receipt's: they go by the time at which it is entered
        self._ended = False
        self._log = request_line.current()

    async def __aenter__(self) -> Self:
        claim, ledger, patience = self.claim, self._ledger, self._ledger.patience
        patience -= 0 if ledger.clock.told else await ledger.hear()
        if ledger.outbox.is_full:  # before a book's loop is chosen: an idle one may be forgotten while this waits
            patience -= await ledger.outbox.room(patience)
        now = ledger.clock()
        self._book_loop, self._key = ledger.book(claim.account, now), ledger.key(claim, self._id, now)
        demand = Demand.of(claim.prompt_tokens, claim.completion_tokens)
        self.tokens, book = await self._book_loop.admit(self._id, demand, self, patience)
        self.quota = Quota(book.max, book.left, book.held, periods.end(self._book_loop.period))
        self._ledger.open += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._ledger.open -= 1
        self.release()

    @property
    def completion_tokens(self) -> int:
        """The longest answer that this hold pays for, in tokens."""
        return self.tokens - self.claim.prompt_tokens - MARGIN_TOKENS

    def settle(self, charge: Charge, outcome: Outcome) -> None:
        """Charge this instead of the hold."""
        if not self._ended:
            self._ended = True
            self._settle(charge, outcome)

    def settle_later(self, counting: Coroutine[None, None, Charge], outcome: Outcome) -> None:
        """Settle once the charge is counted, by a task of the ledger, which no cancelled request cancels.

        If counting fails, the whole hold is charged.
        """
        if self._ended:
            counting.close()
            return
        self._ended = True
        self._log.fields["outcome"] = outcome
        self._log.expect()
        self._ledger.owe(self._count(counting, outcome))

    def release(self, outcome: Outcome = "released") -> None:
        if not self._ended:
            self._ended = True
            self._end(None)
            self._log.fields.update(outcome=outcome, tokens=0)

    def will(self, seconds: float) -> int:
        """What to charge, in tokens, if this process is lost within so many seconds."""
        used_tokens = self.count_used() if self.count_used else self.claim.prompt_tokens
        return used_tokens + self.pace.ahead(seconds)

    async def _count(self, counting: Coroutine[None, None, Charge], outcome: Outcome) -> None:
        charge = Charge(self.tokens, self.claim.prompt_tokens, 0, "counted")  # all of it, if it cannot be counted
        try:
            charge = await counting
        finally:
            self._settle(charge, outcome)
            self._log.finished()

    def _settle(self, charge: Charge, outcome: Outcome) -> None:
        claim, process = self.claim, self._ledger.process
        tokens, prompt_tokens, completion_tokens, source, cached_tokens, reasoning_tokens = charge
        parts, details = (prompt_tokens, completion_tokens), (cached_tokens, reasoning_tokens)
        receipt = Receipt(self._key, tokens, *parts, claim.user, claim.model, source, outcome, process, 0, *details)
        self._end(receipt)
        self._log.fields.update(outcome=outcome, tokens=tokens, source=source)
        if tokens > self.tokens:
            log.warning("usage above the hold", extra={"held": self.tokens, "tokens": tokens})
        metrics.TOKENS_CHARGED.labels(source).inc(tokens)
        metrics.count_tokens(claim.operation, claim.model, prompt_tokens, tokens - prompt_tokens, *details)

    def _end(self, receipt: Receipt | None) -> None:
        self._book_loop.end(self._id, receipt)
        self.count_used = None  # it knows this hold, so both would wait for the garbage collector


class Ledger:
    """All holds of this process, of which so many are `open`."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.open, self.process = 0, secrets.token_hex(6)
        self.patience = settings.reserve_timeout  # seconds that a request waits for its hold
        self._store, self._settings, self.clock = store, settings, store.clock
        self._rules = Rules(
            process=self.process,
            numbers=itertools.count(1),
            clock=store.clock,
            lease_seconds=settings.lease_seconds,
            progress_seconds=settings.progress_seconds,
            default_max=settings.default_token_quota,
        )
        self._rates: defaultdict[tuple[str, bool], Rate] = defaultdict(Rate)
        self._owed: set[asyncio.Task[None]] = set()
        self._ids, self._hearing, self.outbox = itertools.count(1), Hearing(store), Outbox(store)
        self._sweeper = Sweeper.of(store, self.process, settings)
        self._books = Books(store, self.outbox, self._sweeper, self._rules)

    def hold(self, claim: Claim, *, stream: bool = True) -> Hold:
        """A hold for one request: entering it reserves the tokens, leaving it releases what was not settled.

        Entering raises QuotaExceeded if they do not fit, LedgerUnavailable if that is not known within RESERVE_TIMEOUT.
        """
        pace = Pace(self.rate(claim.model, stream=stream), asyncio.get_running_loop().time())
        return Hold(self, next(self._ids), claim, pace)

    async def hear(self) -> float:
        """Wait until DynamoDB has told its time once; before that no period is known. Returns the seconds it took.

        Raises LedgerUnavailable after RESERVE_TIMEOUT.
        """
        return await self._hearing.wait(self.patience)

    def book(self, account: Account, now: float) -> BookLoop:
        """The client's book of the period that `now` belongs to."""
        return self._books.loop(account, periods.current(self._settings.quota_period, now))

    def rate(self, model: str, *, stream: bool) -> Rate:
        """How fast a model generates: streams by their text, whole answers since they were asked for."""
        return self._rates[model, stream]

    def key(self, claim: Claim, hold_id: int, now: float) -> str:
        """The key of this request's receipt: by time, and no other request's."""
        return f"{moments.text(now)}#{claim.request_id}#{self.process}.{hold_id}"

    def owe(self, work: Coroutine[None, None, None]) -> None:
        """Own this work until it is done: a charge that has yet to be counted."""
        task = asyncio.create_task(work)
        self._owed.add(task)
        task.add_done_callback(self._owed.discard)

    def period(self) -> str:
        """The period that is running now."""
        return periods.current(self._settings.quota_period, self.clock())

    async def read(self, account: Account, period: str) -> Book:
        """The client's book after its lost leases were swept; one without use if there is none yet for this period.

        Raises ClientNotFound if the client was never seen, LedgerUnavailable.
        """
        book = await self._store.read(account, period)
        if book:
            return await self._sweeper.sweep(account, period, book)
        max_quota = await self._store.read_max(account, self._rules.default_max)
        if max_quota is None:
            raise ClientNotFound
        return Book(max_quota, max_quota, 0)

    async def settled(self) -> None:
        """Wait until nothing is owed, no commit is in flight and every receipt is put."""
        while tasks := self._tasks():
            for book_loop in self._books.values():
                book_loop.settle()
            await asyncio.wait(tasks)
        await self.outbox.empty()

    @property
    def unsettled(self) -> int:
        """The number of requests that ended and are not yet charged in their books."""
        return len(self._owed) + sum(book_loop.unsettled for book_loop in self._books.values())

    @property
    def receipts_waiting(self) -> int:
        """The number of receipts that are charged and not yet known to be put."""
        return len(self.outbox)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Ledger"]:
        """Put receipts inside the block; at its end, whatever is still in flight is cancelled."""
        outbox = asyncio.create_task(self.outbox.run(), name="outbox")
        try:
            yield self
        finally:
            tasks = [outbox, *self._tasks()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[None]]:
        loops = [each.task for each in self._books.values() if each.task and not each.idle]
        return [*self._owed, *loops, *self._sweeper.tasks()]
