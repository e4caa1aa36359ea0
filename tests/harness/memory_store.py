"""A store of values in memory, where every write is a call that waits until a test decides what becomes of it.

A call is applied, and then answered or its answer is lost; or it is dropped; or it is late: it may be applied at any
later time, or never. Reads are answered at once. `Tables.applied` has what was applied. Each answer is dated by `now`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any, NamedTuple

from gptdock.accounts import Account
from gptdock.errors import LedgerUnavailable
from gptdock.ledger.book import Book, Change, Receipt, Write
from gptdock.ledger.clock import Clock
from gptdock.ledger.store import BATCH, Result
from tests.harness import branches
from tests.harness.world import apply, change_of, fits, holds, is_too_big

Key = tuple[Account, str]  # account, period


class Applied(NamedTuple):
    """A write that reached a book, with the book before and after it."""

    key: Key
    write: Write
    before: Book
    after: Book


class Sent(NamedTuple):
    """A write to a book."""

    key: Key
    write: Write


@dataclass(eq=False)
class Call:
    """One write under way; `what` is done at most once."""

    store: "MemoryStore"
    what: Callable[[], Any]
    sent: Sent | None = None
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    done: list[Any] = field(default_factory=list)
    date: str = ""

    def apply(self) -> None:
        """It reaches the tables; its sender does not know yet."""
        if not self.done:
            self.done.append(self.what())
            self.date = self.store.tables.date()

    def tell(self) -> None:
        """It is answered, after it was applied."""
        self.apply()
        if not self.answer.done():
            self.answer.set_result(self.done[0])

    def fail(self) -> None:
        """Its sender does not learn what became of it."""
        if not self.answer.done():
            self.answer.set_exception(LedgerUnavailable())


@dataclass
class Tables:
    """What all processes share: both tables, and the calls that are under way to them."""

    now: Callable[[], float]
    accounts: dict[Account, int] = field(default_factory=dict)
    books: dict[Key, Book] = field(default_factory=dict)
    usage: dict[Key, dict[str, Receipt]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    late: list[Call] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    most_receipts: int = 99  # in a book: the size that the item may have
    reached: Counter[str] = field(default_factory=Counter)  # rare branches, by how often

    def date(self) -> str:
        return formatdate(self.now(), usegmt=True)

    def decide(self, call: Call, fate: str) -> None:
        """`fate`: `answered`, `applied` (and answered later), `lost` (applied, not answered), `dropped` or `late`."""
        if fate == "applied":
            return call.apply()
        self.calls.remove(call)
        if fate == "answered":
            return call.tell()
        if fate == "lost":
            call.apply()
        elif fate == "late" and not call.done:
            self.late.append(call)
        return call.fail()

    def arrive(self, call: Call) -> None:
        """A late call is applied after all."""
        self.late.remove(call)
        call.apply()

    def change(self, key: Key, change: Change) -> bool:
        """One transaction: the first receipt must be new, the book as it was read."""
        book, receipts = self.books[key], self.usage.setdefault(key, {})
        if change.receipt.key in receipts:
            return True
        if not fits(book, change):
            return False
        receipts |= {receipt.key: receipt for receipt in (change.receipt, *change.late)}
        self.books[key] = change_of(book, change)
        self.reached.update(branches.changed(book, self.books[key]))
        if change.old_max is not None:
            self.accounts[key[0]] = change.old_max + change.max_by
        return True

    def send(self, key: Key, write: Write) -> Result:
        """One conditional update."""
        before = self.books.get(key)
        if before is None:
            return Result(False, None)
        if not (met := holds(before, write)) or is_too_big(before, write, self.most_receipts):
            self.reached.update(branches.refused(before, write, is_too_big=met))
            return Result(False, before, is_too_big=met)
        self.books[key] = apply(before, write)
        self.reached.update(branches.changed(before, self.books[key]))
        self.applied.append(Applied(key, write, before, self.books[key]))
        return Result(True, self.books[key])

    def open(self, key: Key, standing: int | None, default_max: int) -> None:
        """One transaction: the account as it was read, the book absent."""
        if self.accounts.get(key[0]) == standing and key not in self.books:
            most = self.accounts.setdefault(key[0], default_max)
            self.books[key] = Book(most, most, 0)

    def put(self, receipts: Sequence[tuple[Account, str, Receipt]]) -> None:
        """Put receipts; the same key always has the same content."""
        assert len(receipts) <= BATCH
        for account, period, receipt in receipts:
            assert self.usage.setdefault((account, period), {}).setdefault(receipt.key, receipt) == receipt


@dataclass(eq=False)
class MemoryStore:
    """The store of one process, or of the operator; once it is `cut`, no call leaves it and none is answered."""

    tables: Tables
    clock: Clock = field(default_factory=Clock)
    cut: bool = False
    refusals: dict[Key, tuple[Write, Book]] = field(default_factory=dict)  # the last write refused, and what it met

    async def send(self, account: Account, period: str, write: Write) -> Result:
        sent = Sent((account, period), write)
        answer, seen_at = await self._call(lambda: self.tables.send(*sent), sent)
        if not (answer.applied or answer.is_too_big) and answer.book:
            self.refusals[sent.key] = (write, answer.book)
        return answer._replace(book=replace(answer.book, seen_at=seen_at) if answer.book else None)

    async def read(self, account: Account, period: str) -> Book | None:
        book, seen_at = self.tables.books.get((account, period)), await self.ping()
        return replace(book, seen_at=seen_at) if book else None

    async def ping(self) -> int:
        return self.clock.learn(self.tables.date(), self.clock.steady())

    async def read_max(self, account: Account, default_max: int = 0) -> int | None:
        return self.tables.accounts.get(account)

    async def open_book(self, account: Account, period: str, default_max: int, created_at: str) -> None:
        standing = await self.read_max(account)
        await self._call(lambda: self.tables.open((account, period), standing, default_max))

    async def put_receipts(self, receipts: Sequence[tuple[Account, str, Receipt]]) -> None:
        await self._call(lambda: self.tables.put(receipts))

    async def change(self, account: Account, period: str, change: Change) -> bool:
        applied, _ = await self._call(lambda: self.tables.change((account, period), change))
        return bool(applied)

    async def _call(self, what: Callable[[], Any], sent: Sent | None = None) -> tuple[Any, int]:
        """What it returns, and when."""
        call, sent_at = Call(self, what, sent), self.clock.steady()
        if not self.cut:
            self.tables.calls.append(call)
        answer = await call.answer
        return answer, self.clock.learn(call.date, sent_at)
