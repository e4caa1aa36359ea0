"""Puts receipts into `usage` after the commits that charged them, batched over all clients.

A receipt that waits here is safe: it stays in its lease until it is known to be put, and whoever ends that lease puts
it, too. So this task repeats its calls without end, and loses nothing when the process dies. Nor is there a hurry: a
call costs as much CPU as a third of a request, and is the same for 25 receipts as for one.
"""

import asyncio
import logging
from collections.abc import Callable
from itertools import islice

from gptdock.accounts import Account
from gptdock.errors import LedgerUnavailable
from gptdock.ledger.backoff import Backoff
from gptdock.ledger.book import Receipt
from gptdock.ledger.store import BATCH, Store

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.05  # that a receipt waits for others
MOST_PENDING = 10_000  # receipts in memory, about 1 KB each, before no more holds are taken


class Outbox:
    """The receipts that wait to be put; `run` puts them, as long as the process lives.

    `to_come` are the receipts that have yet to be charged in a lease, and come here then.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[tuple[Account, str, str], tuple[Receipt, Callable[[str], None]]] = {}
        self._due, self._emptied = asyncio.Event(), asyncio.Event()
        self._emptied.set()
        self._timer: asyncio.TimerHandle | None = None
        self.to_come = 0

    @property
    def is_full(self) -> bool:
        """Whether so many receipts wait that no request should be admitted that ends in another."""
        return len(self._waiting) + self.to_come >= MOST_PENDING

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
        backoff = Backoff()
        while True:
            await self._due.wait()
            batch = dict(islice(self._waiting.items(), BATCH))
            try:
                await self._store.put_receipts(
                    [(account, period, batch[account, period, key][0]) for account, period, key in batch]
                )
            except LedgerUnavailable as exc:
                log.warning("receipts not put", extra={"waiting": len(self._waiting), "fault": exc.fault})
                await backoff.pause()
                continue
            backoff.reset()
            self._done(batch)

    def _gathered(self) -> None:
        self._timer = None
        if self._waiting:
            self._due.set()

    def _done(self, batch: dict[tuple[Account, str, str], tuple[Receipt, Callable[[str], None]]]) -> None:
        for key in batch:
            receipt, was_put = self._waiting.pop(key)  # not the batch's: another loop may have taken the book up since
            was_put(receipt.key)
        if not self._waiting:
            self._due.clear()
            self._emptied.set()
