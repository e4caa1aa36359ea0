"""The outbox against moto's DynamoDB, while receipts cannot be put."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gptdock.accounts import Account
from gptdock.errors import LedgerUnavailable
from gptdock.ledger import books, http_client, outbox
from gptdock.ledger.book import Receipt
from gptdock.ledger.holds import Ledger
from gptdock.ledger.lease_state import MOST_RECEIPTS
from gptdock.ledger.store import BATCH, Store
from tests.harness.ledgers import ACCOUNT, Start, charge, claim, numbers, spend
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.proxy import Fault, Proxy
from tests.harness.service import read_receipts


def throttled() -> list[Fault]:
    """More throttled calls than a test makes."""
    return ["throttle"] * 1000


async def test_the_loop_that_has_the_book_now_is_told_that_a_receipt_was_put(store: Store):
    """Another one may have forgotten the book while the receipt waited."""
    waiting, told = outbox.Outbox(store), []
    receipt = Receipt("2026-11-23T12:00:00.000Z#r#p.1", 5, 2, 3, "user", "model", "counted", "complete", "p")
    waiting.add(ACCOUNT, "all", receipt, lambda key: told.append("before"))
    waiting.add(ACCOUNT, "all", receipt, lambda key: told.append("now"))
    running = asyncio.create_task(waiting.run())
    await waiting.empty()
    running.cancel()

    assert told == ["now"]


async def test_receipts_are_put_after_an_outage_of_their_table(start: Start, store: Store, proxy: Proxy):
    async with start() as ledger:
        proxy.strike("throttle", "lose", operation="BatchWriteItem")
        await spend(ledger, 42)

        assert await numbers(ledger, store) == (958, 0, 42, 42)


async def test_receipts_are_put_together(start: Start, store: Store, proxy: Proxy, monkeypatch):
    monkeypatch.setattr(outbox, "GATHER_SECONDS", 1000)
    async with start() as ledger:
        for _ in range(5):
            await spend(ledger, 1)

        assert await numbers(ledger, store) == (995, 0, 5, 5)
        assert proxy.calls["BatchWriteItem"] == 1


async def test_receipts_are_put_although_few_come(start: Start, store: Store):
    async with start() as ledger, asyncio.timeout(30):
        await spend(ledger, 1)
        while not await read_receipts(store, ACCOUNT):
            continue


@pytest.mark.usefixtures("deadlines_as_served")
async def test_a_lease_keeps_few_receipts_and_none_is_lost(start: Start, store: Store, proxy: Proxy):
    proxy.strike("hole", operation="BatchWriteItem")
    async with start() as ledger:
        await asyncio.gather(*(spend(ledger, 1, completion_tokens=1) for _ in range(90)))
        while (book := await ledger.read(ACCOUNT, ledger.period())).used < MOST_RECEIPTS:
            continue
        assert len(book.leases[ledger.process].receipts) <= MOST_RECEIPTS

        assert await numbers(ledger, store) == (910, 0, 90, 90)


async def test_no_hold_is_taken_while_too_many_receipts_wait(start: Start, store: Store, proxy: Proxy, monkeypatch):
    """Those in leases and those that found no room there: a process must not run out of memory."""
    monkeypatch.setattr(outbox, "MOST_PENDING", MOST_RECEIPTS + 5)
    proxy.strike(*throttled(), operation="BatchWriteItem")
    async with start() as ledger, start() as other:
        async with ledger.hold(claim()) as late:
            for _ in range(MOST_RECEIPTS + 5):
                await spend(ledger, 1, completion_tokens=1)
            ledger.patience = 0.05
            with pytest.raises(LedgerUnavailable):
                await spend(ledger, 1)
            ledger.patience = 20
            late.settle(charge(1), "complete")
        await spend(other, 1)
        proxy.faults.clear()
        await ledger.settled()

        await spend(ledger, 1)
        await other.settled()
        assert await numbers(ledger, store) == (928, 0, 72, 72)


async def test_a_full_outbox_lets_holds_wait(start: Start, proxy: Proxy, monkeypatch):
    """A busy process puts them late; were its callers refused, they would keep it busy by asking again."""
    async with full(start, proxy, monkeypatch, 5) as ledger:
        waiting = [asyncio.create_task(spend(ledger, 1)) for _ in range(7)]
        waiting[0].cancel()
        await proxy.struck.wait()
        assert not any(task.done() for task in waiting[1:])
        proxy.faults.clear()

        await asyncio.gather(*waiting[1:])
        await ledger.settled()
        assert not ledger.outbox._callers


async def test_a_book_whose_holds_wait_for_room_has_one_loop(start: Start, store: Store, proxy: Proxy, monkeypatch):
    async def ask_for_another() -> None:
        async with ledger.hold(claim()._replace(account=Account("c2", "p1"))):
            pass

    monkeypatch.setattr(books, "MOST_BOOKS", 1)
    async with full(start, proxy, monkeypatch, 3) as ledger:
        [book_loop] = ledger._books.values()
        assert book_loop.task
        book_loop.settle()
        await book_loop.task
        waiting: list[asyncio.Task[object]] = []
        for work in (spend(ledger, 7), ask_for_another(), spend(ledger, 7)):
            waiting.append(asyncio.create_task(work))
            await asyncio.sleep(0)
        proxy.faults.clear()

        await asyncio.gather(*waiting)
        assert await numbers(ledger, store) == (983, 0, 17, 17)


async def test_receipts_do_not_wait_for_a_batch_that_is_not_answered(start: Start, proxy: Proxy, monkeypatch):
    monkeypatch.setattr(http_client, "READ_SECONDS", 1000)
    proxy.strike("hole", operation="BatchWriteItem")
    async with start(settled=False) as ledger, asyncio.timeout(PATIENCE_SECONDS):
        await two_batches(ledger).wait()


async def test_receipts_are_put_in_one_call_at_once_after_one_that_failed(
    start: Start, store: Store, proxy: Proxy, monkeypatch
):
    monkeypatch.setattr(http_client, "READ_SECONDS", 1000)
    proxy.strike("throttle", "throttle", "hole", operation="BatchWriteItem")
    async with start(settled=False) as ledger, asyncio.timeout(PATIENCE_SECONDS):
        was_put = two_batches(ledger)
        while proxy.calls["BatchWriteItem"] < 3:
            await store.ping()
        for _ in range(5):
            await store.ping()

        assert not was_put.is_set()


@asynccontextmanager
async def full(start: Start, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, most: int) -> AsyncIterator[Ledger]:
    """A ledger whose outbox has room for `most` receipts, which all wait until the faults of the proxy are cleared."""
    monkeypatch.setattr(outbox, "MOST_PENDING", most)
    proxy.strike(*throttled(), operation="BatchWriteItem")
    async with start() as ledger, asyncio.timeout(PATIENCE_SECONDS):
        ledger.patience = 10
        for _ in range(most):
            await spend(ledger, 1)
        yield ledger


def two_batches(ledger: Ledger) -> asyncio.Event:
    """Receipts that are to be put; set once one is."""
    was_put = asyncio.Event()
    for number in range(BATCH + 1):
        key = f"2026-11-23T12:00:00.000Z#r#p.{number}"
        receipt = Receipt(key, 5, 2, 3, "user", "model", "counted", "complete", "p")
        ledger.outbox.add(ACCOUNT, "all", receipt, lambda _: was_put.set())
    return was_put


async def test_receipts_that_cannot_be_put_deny_no_request(start: Start, store: Store, proxy: Proxy):
    """Beyond 64 receipts a charge waits for room in the lease; it holds what it costs then, not all that it held."""
    proxy.strike(*throttled(), operation="BatchWriteItem")
    async with start() as ledger:
        for _ in range(90):
            await spend(ledger, 1)
        proxy.faults.clear()

        assert await numbers(ledger, store) == (910, 0, 90, 90)
