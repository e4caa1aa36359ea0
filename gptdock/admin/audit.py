"""Compare books with their receipts, for an operator whose customer disputes a bill."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from gptdock.accounts import Account
from gptdock.ledger import receipt_items
from gptdock.ledger.book import Book
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper

ATTEMPTS = 3  # to read a book and its receipts without a change in between


class Finding(NamedTuple):
    """A book and the tokens of its receipts, in the table `usage` or still in a lease.

    `busy`: in each attempt the book changed between the two reads. `expired`: receipts of its period may already
    have been deleted, so `receipts` may be too low.
    """

    account: Account
    period: str
    book: Book
    receipts: int
    busy: bool
    expired: bool

    @property
    def drift(self) -> int:
        """Tokens by which the book differs from its own sum and from its receipts; 0 if it balances."""
        book = self.book
        missing = 0 if self.expired else abs(book.used - self.receipts)
        return abs(book.max - book.left - book.held - book.used) + missing

    @property
    def fault(self) -> str:
        """What no book can come to, if this one has, by name; or an empty text."""
        return "used < 0" if self.book.used < 0 else "left > max" if self.book.left > self.book.max else ""

    @property
    def balances(self) -> bool:
        """Whether there is no drift and no fault; a busy book has no drift that means anything."""
        return not self.fault and (self.busy or not self.drift)


async def audit(store: Store, sweeper: Sweeper, client_id: str | None = None) -> AsyncIterator[Finding]:
    """One finding per book, of one client or of all. Sweeps lost leases first. Raises LedgerUnavailable."""
    async for account, period, book in store.books(client_id):
        await sweeper.sweep(account, period, book)
        expires_at = receipt_items.expire_at(period)
        expired = expires_at is not None and expires_at <= store.clock()
        if (finding := await _look(store, account, period, expired=expired)) is not None:
            yield finding


async def _look(store: Store, account: Account, period: str, *, expired: bool) -> Finding | None:
    """None if the book is gone: its client was forgotten meanwhile."""
    for _ in range(ATTEMPTS):
        book = await store.read(account, period)
        if book is None:
            return None
        receipts = {receipt.key: receipt.tokens async for receipt in store.receipts(account, period)}
        for lease in book.leases.values():
            receipts |= {receipt.key: receipt.tokens for receipt in lease.receipts}
        busy = book != await store.read(account, period)
        finding = Finding(account, period, book, sum(receipts.values()), busy, expired)
        if not busy:
            break
    return finding
