"""Holds against moto's DynamoDB: what fits, and what each end of a hold costs."""

import asyncio

import pytest

from gptdock.accounts import Account
from gptdock.errors import ClientNotFound, QuotaExceeded
from gptdock.ledger import books
from gptdock.ledger.charges import Charge
from gptdock.ledger.holds import Ledger
from gptdock.ledger.store import Store
from gptdock.quotas import Quota
from gptdock.telemetry.metrics import TOKENS_CHARGED
from tests.harness.ledger_process import PASSES, Process, cancelled
from tests.harness.ledgers import ACCOUNT, NOON, Clock, Start, charge, claim, numbers, spend
from tests.harness.memory_store import Tables
from tests.harness.proxy import Proxy


async def test_a_settled_hold_costs_what_was_used(start: Start, store: Store):
    async with start() as ledger:
        hold = await spend(ledger, 42)

        assert (hold.tokens, hold.quota) == (100, Quota(1000, 900, 100))
        assert await numbers(ledger, store) == (958, 0, 42, 42)


async def test_a_released_hold_costs_nothing(start: Start, store: Store):
    async with start() as ledger:
        async with ledger.hold(claim()):
            pass

        assert await numbers(ledger, store) == (1000, 0, 0, 0)


@pytest.mark.parametrize("first", ["settled", "released"])
async def test_a_hold_that_ended_is_not_counted_later(start: Start, store: Store, first: str):
    """The first end counts, in the books and in the metrics."""
    counted: list[str] = []

    async def count() -> Charge:
        counted.append("again")
        return charge(7)

    before = TOKENS_CHARGED.labels("upstream").value
    async with start() as ledger:
        async with ledger.hold(claim()) as hold:
            if first == "settled":
                hold.settle(charge(42), "complete")
            else:
                hold.release()
            hold.settle_later(count(), "complete")
        used = 42 if first == "settled" else 0

        assert await numbers(ledger, store) == (1000 - used, 0, used, used)
    assert (counted, TOKENS_CHARGED.labels("upstream").value - before) == ([], used)


async def test_usage_above_the_hold_is_charged(start: Start, store: Store):
    async with start() as ledger:
        await spend(ledger, 1200)

        assert await numbers(ledger, store) == (-200, 0, 1200, 1200)
        with pytest.raises(QuotaExceeded):
            await spend(ledger, 1)


async def test_only_the_first_end_of_a_hold_counts(start: Start, store: Store):
    before = TOKENS_CHARGED.labels("upstream").value
    async with start() as ledger:
        hold = await spend(ledger, 42)
        hold.settle(charge(99), "complete")
        hold.release()

        assert await numbers(ledger, store) == (958, 0, 42, 42)
    assert TOKENS_CHARGED.labels("upstream").value - before == 42


async def test_requests_that_come_at_once_are_admitted_as_far_as_they_fit(start: Start, store: Store, proxy: Proxy):
    async def ask(ledger: Ledger) -> bool:
        try:
            async with ledger.hold(claim()):
                await answered.wait()  # all hold what they hold until everybody knows
                return True
        except QuotaExceeded:
            await answered.wait()
            return False

    answered = asyncio.Barrier(40)
    async with start() as one, start() as other:
        admitted = await asyncio.gather(*(ask(ledger) for ledger in (one, other) for _ in range(20)))

        assert sum(admitted) == 10
        assert await numbers(one, store) == (1000, 0, 0, 0)
        assert proxy.calls["UpdateItem"] < 20, "no group commit"


async def test_the_last_hold_is_cut_to_what_is_left(start: Start):
    async with start() as ledger:
        await spend(ledger, 950)
        async with ledger.hold(claim()) as hold:
            assert (hold.tokens, hold.quota.left) == (50, 0)
            assert hold.completion_tokens == 40


async def test_a_hold_is_denied_if_a_minimal_answer_does_not_fit(start: Start):
    async with start() as ledger:
        await spend(ledger, 975)
        with pytest.raises(QuotaExceeded):
            await spend(ledger, 1)


async def test_a_hold_settles_in_the_period_that_it_was_taken_in(start: Start, store: Store, clock: Clock):
    async with start(quota_period="day") as ledger:
        async with ledger.hold(claim()) as hold:
            clock.now += 86_400
            await spend(ledger, 5)
            hold.settle(charge(42), "complete")
        await ledger.settled()

        yesterday, today = [await ledger.read(ACCOUNT, period) for period in ("2026-11-23", "2026-11-24")]
        assert (yesterday.used, today.used) == (42, 5)


async def test_a_forgotten_book_is_taken_up_again(start: Start, store: Store):
    async with start() as ledger:
        await spend(ledger, 1)
        await ledger.settled()
        ledger._books.clear()
        await spend(ledger, 2)

        assert await numbers(ledger, store) == (997, 0, 3, 3)


async def test_a_book_with_an_open_hold_is_not_forgotten(start: Start, store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(books, "MOST_BOOKS", 1)
    async with start() as ledger:
        async with ledger.hold(claim()) as hold:
            async with ledger.hold(claim()._replace(account=Account("c2", "p1"))):
                pass
            await spend(ledger, 5)
            hold.settle(charge(42), "complete")

        assert await numbers(ledger, store) == (953, 0, 47, 47)


async def test_an_unknown_client_is_not_found(start: Start):
    async with start() as ledger:
        with pytest.raises(ClientNotFound):
            await ledger.read(ACCOUNT, "all")


async def test_another_client_is_served_while_all_remembered_books_are_busy(monkeypatch: pytest.MonkeyPatch):
    """As in an outage of DynamoDB, which leaves the book of each client that asked busy until it ends."""
    monkeypatch.setattr(books, "MOST_BOOKS", 1)
    process = Process(Tables(lambda: NOON), 100)
    process.ask("r1", 0, 5)
    process.ask("r2", 0, 5, Account("c2", "p1"))

    for _ in range(PASSES):
        await asyncio.sleep(0)

    try:
        assert [request.task.done() for request in process.requests] == [False, False], "they wait for the store"
    finally:
        await cancelled([*process.tasks, *(request.task for request in process.requests)])
