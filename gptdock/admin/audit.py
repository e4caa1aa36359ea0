"""Holds books against receipts: what an operator runs when a customer doubts the bill."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from gptdock.accounts import Account
from gptdock.ledger.book import Book
from gptdock.ledger.items import receipts_expire_at
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper

TRIES = 3  # to see a book that nobody changes meanwhile


class Finding(NamedTuple):
    """One book beside the sum of its receipts, put or still in it.

    `busy`: it changed while it was read. `expired`: receipts of its period may be deleted by now.
    """

    account: Account
    period: str
    book: Book
    receipts: int
    busy: bool
    expired: bool

    @property
    def drift(self) -> int:
        """Tokens by which the book is off, in itself or from its receipts."""
        book = self.book
        missing = 0 if self.expired else abs(book.used - self.receipts)
        return abs(book.max - book.left - book.held - book.used) + missing

    @property
    def balances(self) -> bool:
        """Whether the book is right; of one that is busy nobody can tell."""
        return self.busy or not self.drift


async def audit(store: Store, sweeper: Sweeper, client_id: str | None = None) -> AsyncIterator[Finding]:
    """A finding for each book, of one client or of all; lost leases are swept first. Raises LedgerUnavailable."""
    async for account, period, book in store.books(client_id):
        await sweeper.sweep(account, period, book)
        expires_at = receipts_expire_at(period)
        yield await _look(store, account, period, expired=expires_at is not None and expires_at <= sweeper.now)


async def _look(store: Store, account: Account, period: str, *, expired: bool) -> Finding:
    for _ in range(TRIES):
        book = await store.read(account, period)
        assert book is not None
        receipts = {receipt.key: receipt.tokens async for receipt in store.receipts(account, period)}
        for lease in book.leases.values():
            receipts |= {receipt.key: receipt.tokens for receipt in lease.receipts}
        busy = book != await store.read(account, period)
        finding = Finding(account, period, book, sum(receipts.values()), busy, expired)
        if not busy:
            break
    return finding
