"""An operator's work on clients, for the routes and the commands: list, show, and change them, see `changes`."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, NamedTuple

from gptdock.accounts import Account
from gptdock.admin import changes, report_rows
from gptdock.admin.changes import Changes, Credit, Operator, Quota
from gptdock.admin.forgetting import Forgetting
from gptdock.admin.release import release
from gptdock.errors import ClientNotFound
from gptdock.ledger import periods, scans
from gptdock.ledger.book import Book, Client, Receipt
from gptdock.ledger.scans import Spent
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from gptdock.settings import Settings

MARGIN = 100  # books beyond twice the limit of a list, so that it is not sorted too often


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

    def this_month(self) -> tuple[str, str]:
        """The first day of the month, and today."""
        today = periods.current("day", self._clock())
        return f"{today[:8]}01", today

    async def knows(self, account: Account) -> bool:
        """Whether there is such a client. Raises LedgerUnavailable."""
        return await self._store.client(account) is not None

    async def find(self, text: str, after: Account | None = None) -> AsyncIterator[Client]:
        """Every client whose id or product contains this text, in any case; all, if it is empty."""
        async for client in self._store.clients(after):
            if any(text.casefold() in each.casefold() for each in client.account):
                yield client

    def spent(self) -> AsyncIterator[Spent]:
        """Every book of the running period, for `fullest`. Raises LedgerUnavailable."""
        return scans.spent(self._store, self.period())

    async def receipts_of_all(self, since: str, until: str) -> AsyncIterator[tuple[str, Receipt, Account]]:
        """The receipts of all clients for these days, both included, in no order. Raises LedgerUnavailable."""
        async for period, receipt, account in scans.receipts(self._store, since):
            if report_rows.belongs_between(period, receipt, since, until):
                yield period, receipt, account

    async def page(self, limit: int, after: Account | None, text: str = "") -> tuple[list[Client], Account | None]:
        """Up to `limit` clients after `after`, and the account to continue after, None at the end; see `find`.

        Raises LedgerUnavailable.
        """
        found = []
        async for client in self.find(text, after):
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

    async def newest_receipts(
        self, account: Account, asked: str, limit: int, before: str | None = None
    ) -> tuple[list[Receipt], str | None]:
        """Up to `limit` receipts of `all`, a month or a day, newest first; with the key to continue before, if any.

        Raises LedgerUnavailable.
        """
        found: list[Receipt] = []
        since = None if asked == "all" else asked
        async for period, receipt in scans.receipts_before(self._store, account, before, since, limit):
            if report_rows.belongs(period, receipt, asked):
                found.append(receipt)
            if len(found) > limit:
                return found[:limit], found[limit - 1].key
        return found, None

    async def set_quota(
        self, account: Account, max_quota: int, operator: Operator, *, existing: bool = False
    ) -> Overview:
        """Set the quota, also of the running period; create the client if it is new, unless it must be `existing`.

        Raises ClientNotFound then; LedgerUnavailable.
        """
        return await self._set(account, Quota(max_quota), operator, existing=existing)

    async def set_default(self, account: Account, operator: Operator) -> Overview:
        """Set the quota to DEFAULT_TOKEN_QUOTA; each later period begins with what that is then.

        Raises ClientNotFound, LedgerUnavailable.
        """
        default = Quota(self._settings.default_token_quota, follows_default=True)
        return await self._set(account, default, operator, existing=True)

    async def reset(self, account: Account, operator: Operator) -> Overview:
        """Restart the running period with 0 used. Raises ClientNotFound, LedgerUnavailable."""
        await self.look(account)
        period, receipt = self.period(), operator.receipt("reset", self._clock())
        await changes.persist(partial(self._changes(account, period).reset, receipt))
        return await self.look(account)

    async def credit(self, account: Account, credit: Credit, operator: Operator) -> Overview:
        """Add tokens to the running period, once for each id.

        Raises ClientNotFound, LedgerUnavailable; InvalidRequest: the id belongs to a credit of another size.
        """
        await self.look(account)
        period, receipt = self.period(), operator.receipt("credit", self._clock())
        await changes.persist(partial(self._changes(account, period).credit, credit, receipt))
        return await self.look(account)

    async def release(self, account: Account, process: str, operator: Operator) -> None:
        """End what a dead process holds, see `release`. Raises LeaseNotReleased, LedgerUnavailable."""
        await release(self._store, self._settings, account, process, operator.name)

    def forgetting(self, operator: Operator) -> Forgetting:
        """What forgets clients and users. Raises InvalidRequest without a FORGET_KEY."""
        return Forgetting(self._store, self._settings, operator)

    async def _set(self, account: Account, new: Quota, operator: Operator, *, existing: bool) -> Overview:
        known = await self.knows(account)  # raises at once if DynamoDB is down; the steps below repeat
        if existing and not known:
            raise ClientNotFound
        done = None
        while done != (period := self.period()):  # a period that began during the change may have the old quota
            receipt = operator.receipt("set_quota", self._clock())
            await changes.persist(partial(self._changes(account, period).set, new, receipt))
            done = period
        return await self.look(account)

    def _changes(self, account: Account, period: str) -> Changes:
        return Changes(self._store, account, period, self._settings.default_token_quota)


async def fullest(
    books: AsyncIterator[Spent], percent: float, limit: int, after: tuple[float, Account] | None = None
) -> list[Spent]:
    """Up to `limit` books of which at least this much is used or held, the fullest first: those behind this `place`.

    Memory grows with `limit`, not with the number of books.
    """
    found: list[Spent] = []
    async for book in books:
        if book.percent >= percent and (after is None or book.place > after):
            found.append(book)
        if len(found) == 2 * limit + MARGIN:
            found.sort(key=lambda book: book.place)
            del found[limit:]
    found.sort(key=lambda book: book.place)
    return found[:limit]


def to_json(client: Client) -> dict[str, Any]:
    """The client as `GET /v1/admin/clients` lists it."""
    shown = {**client.account._asdict(), "max_quota": client.max_quota, "created_at": client.created_at}
    return {**shown, "follows_default": client.follows_default}


def spent_to_json(book: Spent) -> dict[str, Any]:
    """The book as `GET /v1/admin/clients/near` lists it."""
    numbers = {"quota_used": book.used, "quota_held": book.max - book.left - book.used, "quota_left": book.left}
    return {**book.account._asdict(), **numbers, "max_quota": book.max, "percent": round(book.percent, 1)}


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
