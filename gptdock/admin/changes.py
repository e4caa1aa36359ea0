"""The changes that an operator makes to a client's quota, each repeated until it is applied, and applied once.

A change is one DynamoDB transaction that also writes a receipt naming the operator. If another change came first, or
DynamoDB did not answer, the transaction is repeated with the same receipt. It requires that this receipt does not exist
yet, so a change whose answer was lost is applied only once. Each attempt returns whether there is nothing left to do.
"""

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

from gptdock import moments
from gptdock.accounts import Account
from gptdock.errors import InvalidRequest, LedgerUnavailable
from gptdock.ledger import verbs
from gptdock.ledger.backoff import Backoff
from gptdock.ledger.book import Receipt
from gptdock.ledger.store import Store

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0  # how long a change is repeated until it is applied


class Operator(NamedTuple):
    """Who makes a change, as its receipt will name them, and the request id."""

    name: str
    request_id: str

    def receipt(self, source: Literal["set_quota", "reset", "credit", "forget"], now: float) -> Receipt:
        """A receipt with a unique key. The request id is not enough: callers choose it and may repeat it."""
        key = f"{moments.text(now)}#{self.request_id}#{secrets.token_hex(6)}"
        return Receipt(key, 0, 0, 0, self.name, "-", source, source, "-")


class Quota(NamedTuple):
    """A quota to set, in tokens; it may be that of DEFAULT_TOKEN_QUOTA, and follow it."""

    tokens: int
    follows_default: bool = False


class Credit(NamedTuple):
    """Tokens to add to the running period, why, and the id that makes a repetition harmless."""

    tokens: int
    reason: str
    id: str


class Changes:
    """Attempts at changes of one client's book of one period. `default_max` is what a new client's begins with."""

    def __init__(self, store: Store, account: Account, period: str, default_max: int) -> None:
        self._store, self._account, self._period, self._default_max = store, account, period, default_max

    async def set(self, new: Quota, receipt: Receipt) -> bool:
        """Set the quota of the book and of the client, whom this creates if it is new."""
        book = await self._store.read(self._account, self._period)
        if book is None:
            await self._open(new.tokens)
            return False
        outcome = f"{book.max} -> {new.tokens}{' (default)' if new.follows_default else ''}"
        named = receipt._replace(outcome=outcome)
        change = verbs.set_max(book.max, new.tokens, named, follows_default=new.follows_default)
        if not await self._store.change(self._account, self._period, change):
            return False
        log.info("quota set", extra={**self._who(receipt), "old": book.max, "new": new.tokens})
        return True

    async def reset(self, receipt: Receipt) -> bool:
        """Give back what the book has used."""
        book = await self._store.read(self._account, self._period)
        if book is None:
            return True
        change = verbs.reset(book, receipt, int(self._store.clock()))
        if not await self._store.change(self._account, self._period, change):
            return False
        log.info("quota reset", extra={**self._who(receipt), "used": book.used})
        return True

    async def credit(self, credit: Credit, receipt: Receipt) -> bool:
        """Raise the maximum of the book. Raises InvalidRequest: the id belongs to a credit of another size."""
        applied = await self._store.applied_once(self._account, credit.id)
        if applied is not None:
            if applied != credit.tokens:
                raise InvalidRequest(f"id belongs to a credit of {applied} tokens.", param="id")
            return True
        if await self._store.read(self._account, self._period) is None:
            await self._open(self._default_max)
            return False
        named = receipt._replace(outcome=f"+{credit.tokens}: {credit.reason}")
        if not await self._store.change(self._account, self._period, verbs.credit(credit.tokens, named, credit.id)):
            return False
        log.info("quota credited", extra={**self._who(receipt), "tokens": credit.tokens})
        return True

    async def _open(self, max_quota: int) -> None:
        await self._store.open_book(self._account, self._period, max_quota, moments.text(self._store.clock()))

    def _who(self, receipt: Receipt) -> dict[str, str]:
        return {**self._account.named(), "period": self._period, "operator": receipt.user}


async def persist(attempt: Callable[[], Awaitable[bool]], patience_seconds: float | None = None) -> None:
    """Repeat the attempt until it returns True. Raises LedgerUnavailable after these, or PATIENCE_SECONDS."""
    backoff, until = Backoff(), time.monotonic() + (patience_seconds or PATIENCE_SECONDS)
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
