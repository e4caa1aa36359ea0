"""The loop of a book against moto's DynamoDB, with answers lost, late and refused in between."""

import asyncio
import logging
from functools import partial

import pytest

from gptdock.errors import LedgerUnavailable, QuotaExceeded
from gptdock.ledger import aws, backoff, book_loop, items
from gptdock.ledger.store import Store
from gptdock.telemetry import logs
from tests.harness.ledgers import ACCOUNT, NOON, Clock, Start, charge, claim, numbers, spend
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.proxy import Fault, Proxy


@pytest.mark.parametrize("lost", [1, 2, 5, 10])
async def test_lost_answers_charge_once(start: Start, store: Store, proxy: Proxy, monkeypatch, lost: int):
    monkeypatch.setattr(backoff, "MOST_SECONDS", backoff.FIRST_SECONDS)
    async with start() as ledger:
        await spend(ledger, 1)
        losses: list[Fault] = ["lose"] * lost
        proxy.strike(*losses)
        async with ledger.hold(claim()) as hold:
            proxy.strike(*losses)
            hold.settle(charge(42), "complete")

        assert await numbers(ledger, store) == (957, 0, 43, 43)


async def test_a_request_is_not_denied_while_its_lost_hold_may_still_arrive(start: Start, store: Store, proxy: Proxy):
    """Once it is shut out, it can no longer hold tokens for a request that was denied."""
    async with start(reserve_timeout=10) as ledger, start() as other:
        await spend(ledger, 1)
        await ledger.settled()
        async with other.hold(claim(980)):
            proxy.strike("late")
            with pytest.raises(QuotaExceeded):
                await spend(ledger, 1, completion_tokens=600)
        await other.settled()

        assert await proxy.release() == [400]
        assert await numbers(ledger, store) == (999, 0, 1, 1)


@pytest.mark.parametrize("fault", ["throttle", "break", "conflict", "late"])
async def test_a_request_that_fits_is_admitted_after_an_attempt_was_lost(
    start: Start, store: Store, proxy: Proxy, fault: Fault
):
    """Once for a process that forgot the book, and once where less is left than a full answer."""
    async with start(reserve_timeout=10) as ledger:
        await spend(ledger, 900)
        await ledger.settled()
        ledger._books.clear()
        proxy.strike(fault)
        await spend(ledger, 40)
        await ledger.settled()
        proxy.strike(fault)
        hold = await spend(ledger, 7)
        await proxy.release()

        assert hold.tokens == 60
        assert await numbers(ledger, store) == (53, 0, 947, 947)


async def test_a_lost_hold_that_arrives_before_it_is_shut_out_is_admitted(start: Start, store: Store, proxy: Proxy):
    async with start(reserve_timeout=10) as ledger:
        await spend(ledger, 1)
        await ledger.settled()
        proxy.strike("late")
        waiting = asyncio.create_task(spend(ledger, 42))
        await proxy.struck.wait()
        await proxy.release()
        await waiting

        assert await numbers(ledger, store) == (957, 0, 43, 43)


@pytest.mark.usefixtures("deadlines_as_served")
@pytest.mark.parametrize("fault", ["hole", "throttle", "break", "lose"])
async def test_a_hold_without_an_answer_is_refused_in_time_and_given_back(
    start: Start, store: Store, proxy: Proxy, fault
):
    async with start() as ledger:
        await spend(ledger, 1)
        ledger.patience = 0.3
        proxy.always = fault
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(LedgerUnavailable):
                await spend(ledger, 1)
        proxy.always = None

        assert await numbers(ledger, store) == (999, 0, 1, 1)


async def test_a_caller_who_leaves_while_waiting_holds_nothing(start: Start, store: Store, proxy: Proxy):
    async with start() as ledger:
        await spend(ledger, 1)
        proxy.strike("late", "late")
        waiting = asyncio.create_task(spend(ledger, 42))
        await proxy.struck.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        assert await numbers(ledger, store) == (999, 0, 1, 1)


async def test_a_settle_outlives_an_outage(start: Start, store: Store, proxy: Proxy):
    async with start() as ledger:
        async with ledger.hold(claim()) as hold:
            proxy.always = "break"
            hold.settle(charge(42), "complete")
        await proxy.struck.wait()
        proxy.always = None

        assert await numbers(ledger, store) == (958, 0, 42, 42)


async def test_an_answer_that_cannot_be_understood_stops_no_settle(start: Start, store: Store, caplog):
    """Here it shows a book without a maximum."""
    update = partial(aws.call, store._client, "update_item", TableName="gptdock_quota")
    update = partial(update, Key=items.book_key(ACCOUNT, "all"), ExpressionAttributeNames={"#max": "max"})
    async with start() as ledger:
        async with ledger.hold(claim()) as hold:
            await update(UpdateExpression="REMOVE #max")
            hold.settle(charge(42), "complete")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while "commit failed" not in caplog.messages:
                    await store.ping()
            await update(UpdateExpression="SET #max = :max", ExpressionAttributeValues={":max": items.number(1000)})

        assert await numbers(ledger, store) == (958, 0, 42, 42)


async def test_a_settle_shares_the_commit_of_the_next_hold(start: Start, store: Store, proxy: Proxy, monkeypatch):
    monkeypatch.setattr(book_loop, "SETTLE_SECONDS", 1000)
    async with start() as ledger:
        await spend(ledger, 1)
        proxy.calls.clear()
        for _ in range(5):
            await spend(ledger, 1)

        assert proxy.calls["UpdateItem"] == 5
        assert await numbers(ledger, store) == (994, 0, 6, 6)


async def test_a_settle_does_not_wait_while_it_keeps_tokens_from_others(start: Start, monkeypatch):
    monkeypatch.setattr(book_loop, "SETTLE_SECONDS", 1000)
    async with start(progress_seconds=1000, lease_seconds=3600) as ledger, start() as other, asyncio.timeout(30):
        await spend(ledger, 5, completion_tokens=890)
        while (await other.read(ACCOUNT, ledger.period())).held:
            continue


async def test_a_settle_is_written_although_no_hold_comes(start: Start):
    async with start(progress_seconds=1000, lease_seconds=3600) as ledger, asyncio.timeout(30):
        await spend(ledger, 1)
        while (await ledger.read(ACCOUNT, ledger.period())).used < 1:
            continue


async def test_open_holds_renew_their_lease_and_will(start: Start, clock: Clock):
    async with start(progress_seconds=0.05) as ledger, ledger.hold(claim(500)) as hold:
        hold.count_used = lambda: 123
        clock.now += 50
        book = await ledger.read(ACCOUNT, ledger.period())
        while book.leases[ledger.process].will != 133:
            book = await ledger.read(ACCOUNT, ledger.period())

        assert 0 <= book.leases[ledger.process].expires_at - (NOON + 50 + 60) <= 2, "Date has whole seconds"


async def test_the_loop_of_a_book_logs_for_no_single_request(start: Start, proxy: Proxy):
    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append((record.getMessage(), logs.request_id.get()))

    heard: list[tuple[str, str]] = []
    listener = Listener()
    async with start() as ledger:
        await spend(ledger, 1)
        await ledger.settled()
        logs.request_id.set("of-another-request")
        proxy.strike("break")
        logging.getLogger("gptdock.ledger.book_loop").addHandler(listener)
        try:
            await spend(ledger, 1)
        finally:
            logging.getLogger("gptdock.ledger.book_loop").removeHandler(listener)

    assert heard == [("commit not answered", "")]
