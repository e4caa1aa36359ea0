"""Puts receipts into `usage` after the commits that charged them, batched over all clients.

A receipt that waits here is safe: it stays in its lease until it is known to be put, and whoever ends that lease puts
it, too. So this task repeats its calls without end, and loses nothing when the process dies. Nor is there a hurry: a
call costs as much CPU as a third of a request, and is the same for 25 receipts as for one. But a busy process, whose
turns of the event loop take 100 ms, settles hundreds of requests in the time of one call; so it makes several at once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import islice

from gptdock.accounts import Account
from gptdock.errors import LedgerUnavailable
from gptdock.ledger import patience
from gptdock.ledger.backoff import Backoff
from gptdock.ledger.book import Receipt
from gptdock.ledger.store import BATCH, Store

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.05  # that a receipt waits for others
AT_ONCE = 16  # calls
MOST_PENDING = 10_000  # receipts in memory, about 1 KB each; more holds wait until there are fewer

Key = tuple[Account, str, str]  # account, period, a receipt's key


class Outbox:
    """The receipts that wait to be put; `run` puts them, as long as the process lives.

    `to_come` are the receipts that have yet to be charged in a lease, and come here then.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[Key, tuple[Receipt, Callable[[str], None]]] = {}
        self._due, self._emptied = asyncio.Event(), asyncio.Event()
        self._emptied.set()
        self._timer: asyncio.TimerHandle | None = None
        self._callers: deque[asyncio.Future[None]] = deque()  # that wait for room
        self.to_come = 0

    @property
    def is_full(self) -> bool:
        """Whether so many receipts wait that no request should be admitted that ends in another."""
        return len(self._waiting) + self.to_come >= MOST_PENDING

    async def room(self, most_seconds: float) -> float:
        """Wait until it is not full; returns the seconds that took. Raises LedgerUnavailable after `most_seconds`."""
        room = asyncio.get_running_loop().create_future()
        self._callers.append(room)
        began = room.get_loop().time()
        timer = patience.begin(room, most_seconds, _refuse)
        try:
            await room
        finally:
            timer.cancel()
            room.cancel()
        return room.get_loop().time() - began

    def add(self, account: Account, period: str, receipt: Receipt, was_put: Callable[[str], None]) -> None:
        """Put this receipt soon, then call `was_put` with its key: the last one given for that key."""
        self._waiting[account, period, receipt.key] = (receipt, was_put)
        self._emptied.clear()
        if len(self._waiting) >= BATCH:
            self._due.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._gathered)

    def __len__(self) -> int:
        return len(self._waiting)

    async def empty(self) -> None:
        """Put what waits at once, and wait until every receipt is put."""
        self._gathered()
        await self._emptied.wait()

    async def run(self) -> None:
        """Put what is added, in batches, until cancelled."""
        backoff, at_once = Backoff(), AT_ONCE
        while True:
            await self._due.wait()
            keys = list(islice(self._waiting, at_once * BATCH))
            batches = [keys[at : at + BATCH] for at in range(0, len(keys), BATCH)]
            if all(await asyncio.gather(*map(self._put, batches))):
                backoff.reset()
                at_once = AT_ONCE
            else:
                await backoff.pause()
                at_once = 1  # to a table that is throttled, more would be the wrong answer

    async def _put(self, batch: list[Key]) -> bool:
        receipts = [(account, period, self._waiting[account, period, key][0]) for account, period, key in batch]
        try:
            await self._store.put_receipts(receipts)
        except LedgerUnavailable as exc:
            log.warning("receipts not put", extra={"waiting": len(self._waiting), "fault": exc.fault})
            return False
        self._done(batch)
        return True

    def _gathered(self) -> None:
        self._timer = None
        if self._waiting:
            self._due.set()

    def _done(self, batch: list[Key]) -> None:
        for key in batch:
            receipt, was_put = self._waiting.pop(key)  # as it is now: another loop may have taken the book up since
            was_put(receipt.key)
        self._let_in(MOST_PENDING - len(self._waiting) - self.to_come)
        if not self._waiting:
            self._due.clear()
            self._emptied.set()

    def _let_in(self, most: int) -> None:
        while self._callers and most > 0:
            caller = self._callers.popleft()
            if not caller.done():
                caller.set_result(None)
                most -= 1


def _refuse(caller: "asyncio.Future[None]") -> None:
    caller.set_exception(LedgerUnavailable(fault="receipts not put"))
