"""An operator's work on clients, for the routes and the commands: list, show, set a quota, reset, release.

A change is one DynamoDB transaction that also writes a receipt naming the operator. If another change came first, or
DynamoDB did not answer, the transaction is repeated with the same receipt. It requires that this receipt does not exist
yet, so a change whose answer was lost is applied only once.
"""

import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Literal, NamedTuple

from gptdock.accounts import Account
from gptdock.admin import report_rows
from gptdock.admin.release import release
from gptdock.errors import ClientNotFound, LedgerUnavailable
from gptdock.ledger import periods, verbs
from gptdock.ledger.backoff import Backoff
from gptdock.ledger.book import Book, Client, Receipt
from gptdock.ledger.periods import moment
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from gptdock.settings import Settings

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0  # how long a change is repeated until it is applied


class Operator(NamedTuple):
    """Who makes a change, as its receipt will name them, and the request id."""

    name: str
    request_id: str

    def receipt(self, source: Literal["set_quota", "reset"], now: float) -> Receipt:
        """A receipt with a unique key. The request id is not enough: callers choose it and may repeat it."""
        key = f"{moment(now)}#{self.request_id}#{secrets.token_hex(6)}"
        return Receipt(key, 0, 0, 0, self.name, "-", source, source, "-")


class Overview(NamedTuple):
    """A client and its books as (period, book): the running period first, then the newest."""

    client: Client
    books: list[tuple[str, Book]]

    def to_json(self) -> dict[str, Any]:
        """The answer of `GET /v1/admin/client`."""
        return {**to_json(self.client), "books": [book_to_json(*book) for book in self.books]}


class Clients:
    """All clients of a deployment. `process` names the serving process, if any, whose own leases are not swept."""

    def __init__(self, store: Store, settings: Settings, process: str | None = None) -> None:
        self._store, self._clock, self._kind = store, store.clock, settings.quota_period
        self._settings = settings
        self._sweeper = Sweeper.of(store, process, settings)

    def period(self) -> str:
        """The period that is running now, such as `2026-11`."""
        return periods.current(self._kind, self._clock())

    def all(self) -> AsyncIterator[Client]:
        """Every client, in the order of the table. Raises LedgerUnavailable."""
        return self._store.clients()

    async def page(self, limit: int, after: Account | None) -> tuple[list[Client], Account | None]:
        """Up to `limit` clients after `after`, and the account to continue after, None at the end.

        Raises LedgerUnavailable.
        """
        found = []
        async for client in self._store.clients(after):
            found.append(client)
            if len(found) > limit:
                return found[:limit], found[limit - 1].account
        return found, None

    async def look(self, account: Account) -> Overview:
        """Sweep lost leases, then read the client and its books. Raises ClientNotFound, LedgerUnavailable."""
        client = await self._store.client(account)
        if client is None:
            raise ClientNotFound
        found = [
            (period, book) async for whose, period, book in self._store.books(account.client_id) if whose == account
        ]
        books = [(period, await self._sweeper.sweep(account, period, book)) for period, book in found]
        running = self.period()
        return Overview(client, sorted(books, key=lambda book: (book[0] == running, book[0]), reverse=True))

    async def receipts(self, account: Account, asked: str) -> AsyncIterator[tuple[str, Receipt]]:
        """The receipts of `all`, a month or a day, oldest first, each with its period. Raises LedgerUnavailable."""
        since = None if asked == "all" else asked  # no receipt is older than its period
        async for period, receipt in self._store.receipts_since(account, since):
            if report_rows.belongs(period, receipt, asked):
                yield period, receipt

    async def set_quota(self, account: Account, max_quota: int, operator: Operator) -> Overview:
        """Set the quota, also of the running period; create the client if it is new. Raises LedgerUnavailable."""
        await self._store.client(account)  # raises at once if DynamoDB is down; the steps below repeat
        done = None
        while done != (period := self.period()):  # a period that began during the change may have the old quota
            receipt = operator.receipt("set_quota", self._clock())
            await _persist(partial(self._set, account, period, max_quota, receipt))
            done = period
        return await self.look(account)

    async def reset(self, account: Account, operator: Operator) -> Overview:
        """Restart the running period with 0 used. Raises ClientNotFound, LedgerUnavailable."""
        await self.look(account)
        period, receipt = self.period(), operator.receipt("reset", self._clock())
        await _persist(partial(self._reset, account, period, receipt))
        return await self.look(account)

    async def release(self, account: Account, process: str, operator: Operator) -> None:
        """End what a dead process holds, see `release`. Raises LeaseNotReleased, LedgerUnavailable."""
        await release(self._store, self._settings, account, process, operator.name)

    async def _set(self, account: Account, period: str, new: int, receipt: Receipt) -> bool:
        book = await self._store.read(account, period)
        if book is None:
            await self._store.open_book(account, period, new, moment(self._clock()))
            return False
        change = verbs.set_max(book.max, new, receipt._replace(outcome=f"{book.max} -> {new}"))
        if not await self._store.change(account, period, change):
            return False
        log.info("quota set", extra={**_who(account, period, receipt), "old": book.max, "new": new})
        return True

    async def _reset(self, account: Account, period: str, receipt: Receipt) -> bool:
        book = await self._store.read(account, period)
        if book is None:
            return True
        if not await self._store.change(account, period, verbs.reset(book, receipt, int(self._clock()))):
            return False
        log.info("quota reset", extra={**_who(account, period, receipt), "used": book.used})
        return True


def to_json(client: Client) -> dict[str, Any]:
    """The client as `GET /v1/admin/clients` lists it."""
    return {**client.account._asdict(), "max_quota": client.max_quota, "created_at": client.created_at}


def book_to_json(period: str, book: Book) -> dict[str, Any]:
    """The book as the API shows it; `max_quota` = `quota_left` + `quota_held` + `quota_used`."""
    return {
        "period": period,
        "quota_used": book.used,
        "quota_held": book.held,
        "quota_left": book.left,
        "max_quota": book.max,
        "resets_at": periods.resets_at(period),
    }


async def _persist(attempt: Callable[[], Awaitable[bool]]) -> None:
    backoff, until = Backoff(), time.monotonic() + PATIENCE_SECONDS
    while True:
        fault = LedgerUnavailable("The quota is being changed by others. Try again in a moment.")
        try:
            if await attempt():
                return
        except LedgerUnavailable as exc:
            fault = exc
        if time.monotonic() > until:
            raise fault
        await backoff.pause()


def _who(account: Account, period: str, receipt: Receipt) -> dict[str, str]:
    return {**account.named(), "period": period, "operator": receipt.user}
