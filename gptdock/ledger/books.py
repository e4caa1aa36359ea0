"""The books that a process serves or remembers, each with its loop."""

from collections import OrderedDict

from gptdock.accounts import Account
from gptdock.ledger.book_loop import BookLoop
from gptdock.ledger.outbox import Outbox
from gptdock.ledger.rules import Rules
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper

MOST_BOOKS = 10_000  # remembered between requests; the next request for a forgotten one costs a refused write


class Books(OrderedDict[tuple[Account, str], BookLoop]):
    """Loops by account and period, the one that was used last at the end."""

    def __init__(self, store: Store, outbox: Outbox, sweeper: Sweeper, rules: Rules) -> None:
        super().__init__()
        self._store, self._outbox, self._sweeper, self._rules = store, outbox, sweeper, rules

    def loop(self, account: Account, period: str) -> BookLoop:
        """The loop of this book; a new one if there is none."""
        book_loop = self.get((account, period))
        if book_loop is None:
            self._forget()
            book_loop = BookLoop(self._store, self._outbox, self._sweeper, self._rules, account, period)
            self[account, period] = book_loop
        self.move_to_end((account, period))
        return book_loop

    def _forget(self) -> None:
        """Forget the idle book that was used least recently, once there are MOST_BOOKS."""
        if len(self) >= MOST_BOOKS:
            oldest = next((key for key, book_loop in self.items() if book_loop.idle), None)
            if oldest:
                del self[oldest]
