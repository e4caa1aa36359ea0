"""What the tests of ledgers share: clocks, claims and charges, and the numbers of the usual book."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from math import ceil

from gptdock.accounts import Account
from gptdock.ledger import clock
from gptdock.ledger.charges import Charge
from gptdock.ledger.holds import Claim, Hold, Ledger
from gptdock.ledger.rates import ENOUGH, MARGIN
from gptdock.ledger.store import Store
from tests.harness.service import read_receipts

ACCOUNT = Account("c1", "p1")
NOON = 1795435200.0  # 2026-11-23T12:00:00Z
Start = Callable[..., AbstractAsyncContextManager[Ledger]]


class Clock:
    """A clock that stands until a test moves it."""

    now = NOON

    def __call__(self) -> float:
        return self.now


class Standing(clock.Clock):
    """DynamoDB's time as a test says it is, whatever DynamoDB answers."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now, self.told = now, True

    def __call__(self) -> float:
        return self._now()

    @property
    def sure(self) -> bool:
        return True

    def latest(self) -> int:
        return ceil(self._now())

    def learn(self, date: str, sent_at: float) -> int:
        return int(self._now())


def at(store: Store, now: Callable[[], float]) -> Store:
    """The same tables, at that time."""
    return Store(replace(store._client, clock=Standing(now)), "gptdock_")


def claim(completion_tokens: int = 90, request_id: str = "r") -> Claim:
    """A claim whose full hold is 10 tokens more than its completion may take."""
    return Claim(ACCOUNT, "user", "model", request_id, 2, completion_tokens)


def learn(ledger: Ledger, tokens: int, model: str = "model") -> None:
    """Have the ledger's wills allow for so many tokens a second, as if it had seen enough answers of the model."""
    for stream in (True, False):
        for _ in range(ENOUGH):
            ledger.rate(model, stream=stream).observe(round(60 * tokens / MARGIN), 60)


def charge(tokens: int) -> Charge:
    return Charge(tokens, 0, tokens, "upstream")


async def spend(ledger: Ledger, tokens: int, completion_tokens: int = 90) -> Hold:
    async with ledger.hold(claim(completion_tokens)) as hold:
        hold.settle(charge(tokens), "complete")
    return hold


async def numbers(ledger: Ledger, store: Store) -> tuple[int, int, int, int]:
    """left, held, used, sum of receipts."""
    await ledger.settled()
    book = await ledger.read(ACCOUNT, ledger.period())
    receipts = await read_receipts(store, ACCOUNT)
    return book.left, book.held, book.used, sum(receipt["tokens"] for receipt in receipts)
