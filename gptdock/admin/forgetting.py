"""Forgets a client, or a user of any client: pseudonyms take the place of their ids in books and receipts.

What was used and left stays, under the pseudonym. A client is moved by steps (`gptdock.ledger.moves`): first its
account with the newest books, so that nothing of its quota can be used any more; then other books, the ids of its
credits, and its receipts, in which its users become pseudonyms, too. Each is a transaction; after a kill the same
command goes on. It is not begun while a process has a lease in one of its books: that process could still charge.

A user's receipts may still be in leases, from where they are put under the user's name: then it is not done, and must
be repeated. Nobody is kept from coming back: a client that asks again is new, with a quota of 0, where the process that
serves it has FORGET_KEY.
"""

import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, NamedTuple

from gptdock.accounts import Account
from gptdock.admin import changes
from gptdock.admin.changes import Operator
from gptdock.errors import InvalidRequest, LedgerUnavailable
from gptdock.ledger import periods, pseudonyms
from gptdock.ledger.book import Book
from gptdock.ledger.moves import STEP, Found, Left, Moves
from gptdock.ledger.pseudonyms import Pseudonyms
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from gptdock.settings import Settings

log = logging.getLogger(__name__)


class Forgotten(NamedTuple):
    """What was moved or, in a dry run, would be. `leases` stand in the way, or have receipts of the user.

    `done`: nothing is left under the id.
    """

    pseudonym: str
    books: int
    receipts: int
    leases: int
    done: bool

    def to_json(self) -> dict[str, Any]:
        """The answer of `POST /v1/admin/forget`."""
        return self._asdict()


class Forgetting:
    """Forgets for an operator. Raises InvalidRequest without a FORGET_KEY."""

    def __init__(self, store: Store, settings: Settings, operator: Operator) -> None:
        if not settings.forget_key:
            raise InvalidRequest("FORGET_KEY is not set: pseudonyms are made by it.")
        self._store, self._moves, self._operator = store, Moves(store), operator
        self._pseudonyms = Pseudonyms(settings.forget_key)
        self._kind = settings.quota_period
        self._sweeper = Sweeper.of(store, None, settings)

    async def client(self, client_id: str, *, dry_run: bool = False) -> Forgotten:
        """Forget a client with all its products and users; it is not done while there are leases.

        Raises LedgerUnavailable: repeat it.
        """
        to = self._pseudonyms.of("client", client_id)
        if to == client_id:
            return Forgotten(to, 0, 0, 0, done=True)
        first = left = await self._left(client_id, sweep=not dry_run)
        while any(left) and not dry_run and not _leases(left):
            await changes.persist(partial(self._step, client_id, to))
            left = await self._left(client_id)
        is_moved = not any(left)
        receipts = 0
        for product_id in await self._products(first, to) if is_moved or dry_run else ():
            of = Account(client_id, product_id)
            receipts += await (self._move_receipts(of, to) if is_moved else self._count_receipts(of))
        done = Forgotten(to, len(first.books) - (0 if dry_run else len(left.books)), receipts, _leases(left), is_moved)
        return self._logged("client", done) if is_moved else done

    async def user(self, user: str, *, dry_run: bool = False) -> Forgotten:
        """Forget a user of all clients; it is not done while receipts are in leases. Raises LedgerUnavailable."""
        hidden = self._pseudonyms.of("user", user)
        leases = await self._leases_with(user, sweep=not dry_run)
        receipts = missed = 0
        told: set[Account] = set()
        async for group in _grouped(self._moves.receipts_of_user(user)):
            receipts += len(group)
            if not dry_run and not await self._hide(group, told):
                missed += len(group)
        done = Forgotten(hidden, 0, receipts - missed, leases, done=not (dry_run or leases or missed))
        return done if dry_run else self._logged("user", done)

    async def _left(self, client_id: str, *, sweep: bool = True) -> Left:
        """What is left under the id, after the leases that have ended were swept."""
        left = await self._moves.left(client_id)
        if sweep:
            left.books[:] = [
                (whose, period, await self._sweeper.sweep(whose, period, book)) for whose, period, book in left.books
            ]
        return left

    async def _step(self, client_id: str, to: str) -> bool:
        """One transaction, of what is left; true also if there is nothing to do, or a lease stands in the way."""
        left, now = await self._left(client_id), self._store.clock()
        if _leases(left) or not any(left):
            return True
        running = periods.current(self._kind, now)
        for client in left.clients:
            told = self._operator.receipt("forget", now)._replace(outcome="client")
            return await self._moves.account(client, _newest(left, client.account, running), to, running, told)
        if left.books:
            account = left.books[0][0]
            return await self._moves.books(account, _newest(left, account, running), to)
        return await self._moves.ids(left.ids[:STEP], to)

    async def _products(self, first: Left, to: str) -> list[str]:
        """Those of the client, also of what was moved before: the receipts of these may still be where they were."""
        moved = await self._moves.left(to)
        return sorted({client.account.product_id for client in first.clients + moved.clients})

    async def _count_receipts(self, account: Account) -> int:
        return len([0 async for _ in self._moves.receipts(account)])

    async def _move_receipts(self, account: Account, to: str) -> int:
        counts = [0]

        async def move_some() -> bool:
            found = await self._moves.first_receipts(account)
            new = [self._pseudonyms.hide_user(each.receipt) for each in found]
            if found and not await self._moves.rewritten(found, new, to):
                return False
            counts.append(len(found))
            return True

        while len(counts) == 1 or counts[-1]:
            await changes.persist(move_some)
        return sum(counts)

    async def _leases_with(self, user: str, *, sweep: bool) -> int:
        """How many leases have receipts of this user, after those that have ended were swept."""
        count = 0
        async for account, period, book in self._store.books():
            now = await self._sweeper.sweep(account, period, book) if sweep else book
            for lease in now.leases.values():
                count += any(each.user == user and pseudonyms.names_user(each) for each in lease.receipts)
        return count

    async def _hide(self, group: list[Found], told: set[Account]) -> bool:
        """Rewrite receipts of one account, the first of which come with a receipt that tells so; false if not sure."""
        account, now = group[0].account, self._store.clock()
        receipt = self._operator.receipt("forget", now)._replace(outcome="user")
        telling = self._moves.telling(account, periods.current(self._kind, now), receipt)
        new = [self._pseudonyms.hide_user(each.receipt) for each in group]
        try:
            done = await self._moves.rewritten(group, new, "", *([] if account in told else [telling]))
        except LedgerUnavailable:
            return False
        told.add(account)
        return done

    def _logged(self, kind: str, done: Forgotten) -> Forgotten:
        """Log what was done, without the id."""
        log.info("forgotten", extra={"kind": kind, **done._asdict(), "operator": self._operator.name})
        return done


async def _grouped(found: AsyncIterator[Found]) -> AsyncIterator[list[Found]]:
    """Up to STEP receipts of one account at a time; not those whose `user` is an operator."""
    group: list[Found] = []
    async for each in found:
        if not pseudonyms.names_user(each.receipt):
            continue
        if group and (len(group) == STEP or group[0].account != each.account):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _leases(left: Left) -> int:
    return sum(len(book.leases) for _, _, book in left.books)


def _newest(left: Left, account: Account, running: str) -> list[tuple[str, Book]]:
    """Up to STEP books of this account, the running period first."""
    books = [(period, book) for whose, period, book in left.books if whose == account]
    return sorted(books, key=lambda each: (each[0] == running, each[0]), reverse=True)[:STEP]
