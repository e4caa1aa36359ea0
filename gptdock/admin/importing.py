"""Brings the clients of another service over: their maximum, what they used, and what each of their users used.

A client is brought in three steps, each of which may be repeated: its book is opened; the receipts of its users are
put, under keys that are the same in each attempt; one change sets its maximum, charges what it used, and leaves a
receipt for what its users do not explain. The change is applied once for each client, so an import that was killed is
just started again, and goes on where it was.
"""

import asyncio
import time
from collections.abc import Iterator
from urllib.parse import quote

from gptdock import moments
from gptdock.accounts import Account
from gptdock.admin import changes
from gptdock.admin.import_rows import Brought
from gptdock.ledger import verbs
from gptdock.ledger.book import Receipt
from gptdock.ledger.store import BATCH, Store

ONCE = "import"
PATIENCE_SECONDS = 60.0  # for DynamoDB to answer, before the import gives up; it may be started again


class Import:
    """Imports into the books of this period, at most `rate` writes a second, in the name of an operator."""

    def __init__(self, store: Store, period: str, operator: str, rate: float) -> None:
        self._store, self._period, self._operator = store, period, operator
        self._rate, self._writes, self._began = rate, 0, time.monotonic()

    async def bring(self, client: Brought) -> bool:
        """Import one client; False if it had been imported before.

        Raises LedgerUnavailable: DynamoDB did not answer for PATIENCE_SECONDS.
        """
        before = False

        async def attempt() -> bool:
            nonlocal before
            before = await self._store.applied_once(client.account, ONCE) is not None
            return before or await self._bring(client)

        await changes.persist(attempt, PATIENCE_SECONDS)
        await self._pace(0 if before else 3 + len(client.users))
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

    async def _bring(self, client: Brought) -> bool:
        now = moments.text(self._store.clock())
        await self._store.open_book(client.account, self._period, client.max, now)
        book, known = await self._store.read(client.account, self._period), await self._store.client(client.account)
        if book is None or known is None:
            return False
        at = max(known.created_at, _start(self._period))
        await self._put(client, [*_of_users(client, at)])
        rest = client.used - sum(client.users.values())
        receipt = _receipt(f"{at}#import#", self._operator, rest)  # no user has an empty id
        return await self._store.change(
            client.account, self._period, verbs.bring(book.max, client.max, client.used, receipt, ONCE)
        )

    async def _put(self, client: Brought, receipts: list[Receipt]) -> None:
        for start in range(0, len(receipts), BATCH):
            batch = receipts[start : start + BATCH]
            await self._store.put_receipts([(client.account, self._period, each) for each in batch])

    async def _pace(self, writes: int) -> None:
        self._writes += writes
        ahead = self._writes / self._rate - (time.monotonic() - self._began)
        if ahead > 0:
            await asyncio.sleep(ahead)


def _start(period: str) -> str:
    """A moment before any receipt of the period, so that reports of it have those that are imported."""
    return "" if period == "all" else f"{f'{period}-01'[:10]}T00:00:00.000Z"


def _of_users(client: Brought, at: str) -> Iterator[Receipt]:
    for user, tokens in client.users.items():
        yield _receipt(f"{at}#import#{quote(user, safe='')}", user, tokens)


def _receipt(key: str, user: str, tokens: int) -> Receipt:
    return Receipt(key, tokens, 0, 0, user, "-", "import", "import", "-")
