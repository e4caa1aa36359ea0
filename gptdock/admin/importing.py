"""Brings the clients of another service over: their maximum, what they used, and what each of their users used.

A client is brought in three steps, each of which may be repeated: its book is opened; the receipts of its users are
put, under keys that are the same in each attempt; one change sets its maximum, charges what it used, and leaves a
receipt for what its users do not explain. The change is applied once for each client, so an import that was killed is
just started again, and goes on where it was: a client in whom it was killed, in the period in which it had begun.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from gptdock import moments
from gptdock.accounts import Account
from gptdock.admin import changes
from gptdock.admin.import_rows import Brought
from gptdock.ledger import verbs
from gptdock.ledger.book import Receipt
from gptdock.ledger.store import BATCH, Store

ONCE = "an import"  # no id of a credit: these have no space
PATIENCE_SECONDS = 60.0  # for DynamoDB to answer, before the import gives up; it may be started again
UNITS = 12  # write units of a client besides its users' receipts: two transactions, of two items and of four


class Pace:
    """Keeps to `rate` units a second. Time in which nothing was done is not caught up with."""

    def __init__(self, rate: float) -> None:
        self._rate, self._free_at = rate, 0.0

    def seconds(self, units: int, now: float) -> float:
        """How long to wait after these units."""
        self._free_at = max(self._free_at, now) + units / self._rate
        return self._free_at - now


class Begun(NamedTuple):
    """What an attempt that was killed left: the period in which it began, and the receipts of users, by user."""

    period: str
    users: Mapping[str, int]


class Import:
    """Imports into the books of this period, at most `rate` write units a second, in the name of an operator."""

    def __init__(self, store: Store, period: str, operator: str, rate: float) -> None:
        self._store, self._period, self._operator, self._pace = store, period, operator, Pace(rate)

    async def bring(self, client: Brought) -> bool:
        """Import one client; False if it had been imported before, also if it was forgotten since.

        Raises LedgerUnavailable: DynamoDB did not answer for PATIENCE_SECONDS.
        """
        before = False

        async def attempt() -> bool:
            nonlocal before
            before = await self._is_imported(client.account)
            return before or await self._bring(client)

        await changes.persist(attempt, PATIENCE_SECONDS)
        if not before:
            await asyncio.sleep(self._pace.seconds(UNITS + len(client.users), time.monotonic()))
        return not before

    async def imported(self, account: Account) -> int | None:
        """The tokens of the client's imported receipts; None if it was not imported. Raises LedgerUnavailable."""
        tokens: int | None = None

        async def attempt() -> bool:
            nonlocal tokens
            if await self._store.applied_once(account, ONCE) is not None:
                found = self._store.receipts_since(account)
                tokens = sum([receipt.tokens async for _, receipt in found if receipt.source == "import"])
            return True

        await changes.persist(attempt, PATIENCE_SECONDS)
        return tokens

    async def _is_imported(self, account: Account) -> bool:
        if await self._store.applied_once(account, ONCE) is not None:
            return True
        hidden = self._store.hidden(account)
        return hidden is not None and await self._store.applied_once(hidden, ONCE) is not None

    async def _bring(self, client: Brought) -> bool:
        account, begun = client.account, await self._begun(client.account)
        period, now = begun.period, moments.text(self._store.clock())
        await self._store.open_book(account, period, client.max, now)
        book, known = await self._store.read(account, period), await self._store.client(account)
        if book is None or known is None:
            return False
        at = max(known.created_at, _start(period))
        await self._put(account, period, [*_of_users(client.users, at)])
        rest = client.used - sum({**begun.users, **client.users}.values())
        receipt = _receipt(f"{at}#import#", self._operator, rest)  # no user has an empty id
        return await self._store.change(account, period, verbs.bring(book.max, client.max, client.used, receipt, ONCE))

    async def _begun(self, account: Account) -> Begun:
        if await self._store.client(account) is None:
            return Begun(self._period, {})
        found = self._store.receipts_since(account)
        ours = [(period, receipt) async for period, receipt in found if receipt.source == "import"]
        return Begun(ours[0][0] if ours else self._period, {receipt.user: receipt.tokens for _, receipt in ours})

    async def _put(self, account: Account, period: str, receipts: list[Receipt]) -> None:
        for start in range(0, len(receipts), BATCH):
            batch = receipts[start : start + BATCH]
            await self._store.put_receipts([(account, period, each) for each in batch])


def _start(period: str) -> str:
    """A moment before any receipt of the period, so that reports of it have those that are imported."""
    return "" if period == "all" else f"{f'{period}-01'[:10]}T00:00:00.000Z"


def _of_users(users: Mapping[str, int], at: str) -> Iterator[Receipt]:
    for user, tokens in users.items():
        yield _receipt(f"{at}#import#{quote(user, safe='')}", user, tokens)


def _receipt(key: str, user: str, tokens: int) -> Receipt:
    return Receipt(key, tokens, 0, 0, user, "-", "import", "import", "-")
