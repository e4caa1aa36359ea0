"""The loop of a book: gather what waits, let `lease_state` decide the commit, send it, and learn from the answer.

One commit is in flight at a time. All that arrives while it is goes into the next one: one UpdateItem for any number of
holds and settles. The loop runs while the book has requests, and is started again by the next one. The rules are in
`gptdock.ledger`.
"""

import asyncio
import logging
from contextvars import Context
from itertools import islice

from gptdock import moments
from gptdock.accounts import Account
from gptdock.errors import LedgerUnavailable
from gptdock.ledger import lease_state, patience, verbs
from gptdock.ledger.backoff import Backoff
from gptdock.ledger.book import Book, Demand, Receipt
from gptdock.ledger.lease_state import MOST_RECEIPTS, LeaseState
from gptdock.ledger.outbox import Outbox
from gptdock.ledger.renewals import Renewals
from gptdock.ledger.requests import Phase, Requests
from gptdock.ledger.rules import Admission, Outlook, Rules
from gptdock.ledger.store import Result, Store
from gptdock.ledger.sweeper import Sweeper
from gptdock.telemetry import metrics

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.05  # that a settle waits for a hold or other settles to share a commit with
MOST_NAMED = 20  # requests of a lease that was swept


class BookLoop:
    """A book, as this process serves it."""

    def __init__(
        self, store: Store, outbox: Outbox, sweeper: Sweeper, rules: Rules, account: Account, period: str
    ) -> None:
        self.account, self.period = account, period
        self.task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()  # as in `Renewals`
        self._store, self._outbox, self._sweeper, self._rules = store, outbox, sweeper, rules
        self._state = LeaseState(rules.process, Requests())
        self._waiting: dict[int, tuple[Demand, asyncio.Future[Admission]]] = {}
        self._posted, self._put = set[str](), set[str]()  # keys of receipts in the lease
        self._woken = asyncio.Event()
        self._settling: asyncio.TimerHandle | None = None
        self._is_tight = False  # what is held may be missed by others
        self._renewals = Renewals(rules.progress_seconds)
        self._to_come = 0
        self._backoff = Backoff()

    @property
    def idle(self) -> bool:
        """Whether nothing is open, waiting or in flight."""
        return self.task is None or self.task.done()

    @property
    def unsettled(self) -> int:
        """The number of requests that ended and are not yet charged in the book."""
        return self._state.requests.unsettled

    async def admit(self, request_id: int, demand: Demand, outlook: Outlook, most_seconds: float) -> Admission:
        """Wait until the hold is in the book. Raises QuotaExceeded, LedgerUnavailable: after `most_seconds`.

        If cancelled, the request gives its hold up.
        """
        admission: asyncio.Future[Admission] = self._loop.create_future()
        self._waiting[request_id] = demand, admission
        self._state = lease_state.ask(self._state, request_id, demand, self._renewals.begin(request_id, outlook))
        self._wake()
        timer = patience.begin(admission, most_seconds, _lose_patience)
        try:
            return await admission
        except BaseException:
            self.end(request_id, None)
            raise
        finally:
            timer.cancel()
            del self._waiting[request_id]

    def end(self, request_id: int, receipt: Receipt | None) -> None:
        """Replace the hold by the charge of the receipt, or release it without one. Only the first end counts."""
        if not self._renewals.end(request_id):
            return
        if receipt is None:
            self._state = lease_state.give_up(self._state, request_id)
            self._wake()
        else:
            self._state = lease_state.end(self._state, request_id, receipt)
            self._note_pending()
            if self._is_tight or self.unsettled >= MOST_RECEIPTS:
                self.settle()
            elif self._settling is None:
                self._settling = self._loop.call_later(SETTLE_SECONDS, self.settle)

    def settle(self) -> None:
        """Do not let the settles wait any longer for others."""
        self._settling = None
        if not self.idle:  # its loop lives as long as something is unsettled, unless the ledger was closed
            self._woken.set()

    def _wake(self) -> None:
        self._woken.set()
        if self.idle:
            self.task = asyncio.create_task(self._run(), context=Context())  # it belongs to no single request

    async def _run(self) -> None:
        while await self._decide():
            while self._state.in_flight:
                await self._attempt()

    async def _decide(self) -> bool:
        """Put the next commit in flight, as soon as there is one; False if nothing is left to wait for."""
        while True:
            if not self._rules.clock.sure:
                await self._ask_for_the_time()
            self._woken.clear()
            renew = self._renewals.may_be_due() and await self._renew()
            if (renew or not lease_state.is_settled(self._state)) and (
                write := lease_state.commit(self._state, self._rules.terms(), self._put, renew=renew)
            ):
                self._state = lease_state.send(self._state, write)
                return True
            if not self._state.requests:
                return False
            await self._wait()

    async def _renew(self) -> bool:
        """Note what the requests may have used by their next renewal; False if that is not due, or holds wait."""
        wills = await self._renewals.count(self._holds_wait)
        if wills is not None:
            self._state = lease_state.progress(self._state, wills)
        return wills is not None

    async def _ask_for_the_time(self) -> None:
        """A lease that is written by a wrong time may be swept while this process lives: then it is dated anew."""
        while self._state.requests and not self._rules.clock.sure:
            self._renewals.all_at_once()
            try:
                await self._store.ping()
            except LedgerUnavailable as exc:
                self._note_fault(exc)
            if not self._rules.clock.sure:
                await self._backoff.pause()

    async def _wait(self) -> None:
        renewal = self._loop.call_at(self._renewals.next_at, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            renewal.cancel()

    def _holds_wait(self) -> bool:
        return any(not admission.done() for _, admission in self._waiting.values())

    async def _attempt(self) -> None:
        """Send the commit in flight once, and learn from the answer if there is one."""
        write = self._state.in_flight
        assert write is not None
        try:
            answer = await self._store.send(self.account, self.period, write)
            if answer.book is None:
                created_at = moments.text(self._rules.clock())
                await self._store.open_book(self.account, self.period, self._rules.default_max, created_at)
                return
            if not answer.applied:
                await self._ask_for_the_time()  # what follows is dated, and sent at once
            self._learn(answer, answer.book)
            if answer.is_too_big:
                log.warning("book too big", extra={**self.account.named(), "leases": len(answer.book.leases)})
                await self._backoff.pause()
            else:
                self._backoff.reset()
        except Exception as exc:  # the loop must never stop settling
            self._state = lease_state.timed_out(self._state)
            self._note_fault(exc)
            await self._backoff.pause()

    def _note_fault(self, exc: Exception) -> None:
        if isinstance(exc, LedgerUnavailable):
            log.warning("commit not answered", extra={**self.account.named(), "fault": exc.fault})
        else:
            log.exception("commit failed", extra=self.account.named())

    def _learn(self, answer: Result, book: Book) -> None:
        now = lease_state.saw(self._state, book)
        assert now.in_flight is not None
        if answer.applied:
            metrics.COMMIT_REQUESTS.observe(len(now.in_flight.new_holds) + len(now.in_flight.ends))
            self._state = lease_state.applied(now, now.in_flight)
        else:
            self._note_if_swept(book)
            self._state = lease_state.refused(now, book, self._rules.terms(), self._put, is_too_big=answer.is_too_big)
        self._is_tight = book.left < book.held
        self._note_pending()
        self._tell(book)
        self._post()
        self._sweeper.saw(self.account, self.period, book)

    def _note_if_swept(self, book: Book) -> None:
        """This process was taken for dead: name the requests that its will was charged for."""
        lease, requests = book.leases.get(self._rules.process), self._state.requests
        if not requests.holding or (lease and lease.number > 0):
            return
        held = (i for i, request in requests.items() if request.phase in (Phase.OPEN, Phase.ENDED))
        what = {"requests": requests.holding, "request_ids": [self._name(i) for i in islice(held, MOST_NAMED)]}
        message = "own lease swept" if lease else "own lease swept and removed"
        log.warning(message, extra={**self.account.named(), "period": self.period, **what})

    def _name(self, request_id: int) -> str | None:
        """The id by which its caller knows a request: in a receipt's key it is between the time and our own id."""
        receipt = self._state.requests.charged.get(request_id)
        return receipt.key.partition("#")[2].rpartition("#")[0] if receipt else self._renewals.name(request_id)

    def _tell(self, book: Book) -> None:
        """Answer the requests that wait: one that is open was admitted, one that is gone was denied."""
        for request_id, (demand, admission) in self._waiting.items():
            if admission.done():
                continue
            request = self._state.requests.get(request_id)
            if request is None:
                admission.set_exception(verbs.denial(demand, book, self.period))
            elif request.phase is Phase.OPEN:
                admission.set_result((request.held, book))

    def _post(self) -> None:
        receipts = self._state.lease.receipts if self._state.lease else ()
        for receipt in receipts:
            if receipt.key not in self._posted:
                self._outbox.add(self.account, self.period, receipt, self._was_put)
        self._posted = {receipt.key for receipt in receipts}
        self._put &= self._posted

    def _note_pending(self) -> None:
        """Tell the outbox how many receipts have yet to be charged here; each change is noted, so it need not count."""
        charged = len(self._state.requests.charged)
        self._outbox.to_come += charged - self._to_come
        self._to_come = charged

    def _was_put(self, key: str) -> None:
        self._put.add(key)
        self._woken.set()


def _lose_patience(admission: "asyncio.Future[Admission]") -> None:
    admission.set_exception(LedgerUnavailable())
