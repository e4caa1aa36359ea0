"""Ends the leases of lost processes wherever they are seen: after a commit, at a read, in an audit.

A lease that still holds tokens is swept; an empty one is removed, once its receipts are put. Any number of processes
may attempt it at once: the book applies one write. See `gptdock.ledger`.
"""

import asyncio
import logging
from contextvars import Context
from typing import Self

from gptdock.accounts import Account
from gptdock.errors import LedgerUnavailable
from gptdock.ledger import verbs
from gptdock.ledger.book import Book, Lease
from gptdock.ledger.store import BATCH, Store
from gptdock.settings import Settings
from gptdock.telemetry import metrics

log = logging.getLogger(__name__)


class Sweeper:
    """Sweeps for a process, whose own lease it leaves alone, or for a command, which has none (`process` is None)."""

    def __init__(self, store: Store, process: str | None, grace: int, retain: int) -> None:
        self._store, self._process = store, process
        self._grace_seconds, self._retain_seconds = grace, retain
        self._busy: dict[tuple[Account, str], asyncio.Task[None]] = {}

    @classmethod
    def of(cls, store: Store, process: str | None, settings: Settings) -> Self:
        """A sweeper with the grace and the retention of the settings."""
        return cls(store, process, settings.lease_grace_seconds, settings.lease_retain_seconds)

    def saw(self, account: Account, period: str, book: Book) -> None:
        """Sweep this book in the background, if one of its leases ended."""
        has_others = book.leases.keys() != {self._process}
        if has_others and self._ended(book) and (account, period) not in self._busy:
            task = asyncio.create_task(self._try(account, period, book), context=Context())
            self._busy[account, period] = task
            task.add_done_callback(lambda _: self._busy.pop((account, period)))

    async def sweep(self, account: Account, period: str, book: Book) -> Book:
        """End every lease that is due, and return the book after that. Raises LedgerUnavailable."""
        for process, lease in self._ended(book):
            if lease.held:
                book = await self._sweep(account, period, book, process, lease)
            else:
                book = await self._remove(account, period, book, process, lease)
        return book

    async def release(self, account: Account, period: str, process: str, book: Book, operator: str) -> bool:
        """End this lease as it is in the book, though it has not expired; its receipt names the operator.

        False if the lease has changed since. Raises LedgerUnavailable: it may be ended.
        """
        swept = await self._sweep(account, period, book, process, book.leases[process], operator)
        return process in swept.leases and swept.leases[process].number == -book.leases[process].number

    def tasks(self) -> list[asyncio.Task[None]]:
        return list(self._busy.values())

    async def _try(self, account: Account, period: str, book: Book) -> None:
        try:
            await self.sweep(account, period, book)
        except LedgerUnavailable as exc:
            log.warning("lease not swept yet", extra={**account.named(), "fault": exc.fault})

    def _ended(self, book: Book) -> list[tuple[str, Lease]]:
        ended = verbs.expired(book, self._grace_seconds)
        return [(process, lease) for process, lease in ended if process != self._process]

    async def _sweep(
        self, account: Account, period: str, book: Book, process: str, lease: Lease, operator: str = "-"
    ) -> Book:
        put = await self._are_put(account, period, lease)
        now = self._store.clock.latest()
        write = verbs.sweep(process, lease, now, self._retain_seconds, put, operator)
        answer = await self._store.send(account, period, write)
        if answer.applied:
            metrics.TOKENS_CHARGED.labels("lost").inc(lease.will)
            who = {**account.named(), "period": period, "process_id": process}
            what = {"held": lease.held, "charged": lease.will, "requests": lease.requests}
            log.warning("lease swept", extra={**who, **what})
        book = answer.book or book
        await self._put(account, period, book.leases.get(process, lease))
        return book

    async def _remove(self, account: Account, period: str, book: Book, process: str, lease: Lease) -> Book:
        await self._put(account, period, lease)
        answer = await self._store.send(account, period, verbs.remove(process, lease, book.fence))
        return answer.book or book

    async def _are_put(self, account: Account, period: str, lease: Lease) -> frozenset[str]:
        """Put the receipts of a lease: their keys; none if that is not sure. Its tokens are freed all the same."""
        try:
            await self._put(account, period, lease)
        except LedgerUnavailable:
            return frozenset()
        return frozenset(receipt.key for receipt in lease.receipts)

    async def _put(self, account: Account, period: str, lease: Lease) -> None:
        receipts = [(account, period, receipt) for receipt in lease.receipts]
        for start in range(0, len(receipts), BATCH):
            await self._store.put_receipts(receipts[start : start + BATCH])
