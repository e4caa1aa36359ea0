"""What wrong clocks, clocks that jump, and machines that stand still do to leases and periods: nothing."""

import asyncio

import pytest

from gptdock.errors import LedgerUnavailable, QuotaExceeded
from gptdock.ledger import clock as dynamodb_time
from gptdock.ledger.book import Lease
from gptdock.ledger.holds import Ledger
from gptdock.ledger.store import Store
from tests.harness.ledgers import ACCOUNT, NOON, Clock, Start, charge, claim, numbers, spend
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.proxy import Proxy
from tests.harness.service import NOBODY, make_settings, read_receipts


@pytest.mark.parametrize("jump", [-3600, 3600])
async def test_a_time_of_dynamodb_that_jumps_changes_no_charge_and_ends_no_lease_sooner(
    start: Start, store: Store, behind: Store, clock: Clock, jump: int
):
    async with start(quota_period="day", progress_seconds=0.05) as ledger, start() as other:
        clock.now = NOON + 12 * 3600 - 1800 * (1 if jump > 0 else -1)  # so that it is another day afterwards
        await behind.ping()
        period, taken_at = ledger.period(), clock.now
        async with ledger.hold(claim()) as hold:
            clock.now += jump
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (await _lease(ledger, period)).number < 3:  # until it was renewed
                    continue
            lease = await _lease(ledger, period)
            await other.read(ACCOUNT, period)
            hold.settle(charge(42), "complete")
        await ledger.settled()

        book = await ledger.read(ACCOUNT, period)
        assert (lease.held, lease.expires_at >= max(taken_at, clock.now) + 60) == (100, True)
        assert (book.left, book.held, book.used) == (958, 0, 42)
        [receipt] = await read_receipts(store, ACCOUNT)
        assert (receipt["tokens"], receipt["period"], ledger.period() != period) == (42, period, True)


@pytest.mark.parametrize("jump", [-7200, -240, -70, 70, 240, 7200])
async def test_a_machine_s_clock_that_jumps_changes_no_lease_and_no_period(start: Start, store: Store, jump: int):
    machine = Clock()
    async with start(machine=machine, quota_period="day", progress_seconds=0.05) as ledger:
        async with ledger.hold(claim()) as hold:
            machine.now += jump
            period = ledger.period()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (await _lease(ledger, period)).number < 3:  # until it was renewed
                    continue
            lease = await _lease(ledger, period)
            machine.now -= jump
            hold.settle(charge(42), "complete")
        await ledger.settled()

        assert (period, lease.held, lease.expires_at) == ("2026-11-23", 100, NOON + 60 + 1)
        assert (await _lease(ledger, period)).expires_at == NOON + 60 + 1


@pytest.mark.parametrize("skew", [-7200, -240, -70, 70, 240, 7200])
async def test_a_wrong_clock_elsewhere_ends_no_lease_of_a_living_process(start: Start, store: Store, skew: int):
    wrong = Clock()
    wrong.now += skew
    async with start() as ledger, start(machine=wrong) as other:
        async with ledger.hold(claim(990)) as hold:
            shown = await numbers(other, store)
            with pytest.raises(QuotaExceeded):
                await spend(other, 5, completion_tokens=200)
            hold.settle(charge(42), "complete")

        assert shown == (0, 1000, 0, 0)
        assert await numbers(ledger, store) == (1000 - 42, 0, 42, 42)


@pytest.mark.parametrize("skew", [-7200, -240, -70, 70, 240, 7200])
async def test_a_process_with_a_wrong_clock_keeps_its_leases(start: Start, store: Store, skew: int):
    wrong = Clock()
    wrong.now += skew
    async with start(machine=wrong) as ledger, start() as other:
        async with ledger.hold(claim(990)) as hold:
            shown = await numbers(other, store)
            hold.settle(charge(42), "complete")

        assert shown == (0, 1000, 0, 0)
        assert await numbers(ledger, store) == (1000 - 42, 0, 42, 42)


async def test_a_lease_is_not_written_before_the_time_is_known(
    start: Start, store: Store, behind: Store, proxy: Proxy, clock: Clock
):
    """A process that starts while DynamoDB is out of reach, on a machine whose clock is behind."""
    proxy.always = "break"
    settings = make_settings(proxy.url, NOBODY, default_token_quota=1000)
    two_hours_behind = dynamodb_time.Clock(lambda: NOON - 7200, steady=clock)
    async with Store.connected(settings, two_hours_behind) as ours, Ledger(ours, settings).running() as ledger:
        asking = asyncio.create_task(ledger.hold(claim()).__aenter__())
        await proxy.struck.wait()
        proxy.always = None
        hold = await asking

        assert (await _lease(ledger, "all")).expires_at == NOON + 60 + 1
        await hold.__aexit__(None, None, None)
        await ledger.settled()


async def test_no_commit_is_dated_by_a_time_in_doubt(start: Start, proxy: Proxy, clock: Clock):
    """Here the machine stood still, and the answer that refuses the other commit is the first since."""
    steady = Clock()
    settings = make_settings(proxy.url, NOBODY)
    async with (
        Store.connected(settings, dynamodb_time.Clock(steady=steady)) as suspended,
        start(store=suspended, reserve_timeout=10) as ledger,
        start() as other,
        other.hold(claim(980)),
    ):
        clock.now += 30
        proxy.strike("break")
        with pytest.raises(QuotaExceeded):
            await spend(ledger, 1)

        book = await other.read(ACCOUNT, "all")
        assert book.leases[ledger.process].expires_at >= clock.now + 60


async def test_a_first_request_is_charged_in_dynamodb_s_period(store: Store, behind: Store, proxy: Proxy, clock: Clock):
    """A process that did not reach DynamoDB at its start, on a machine whose clock is two days ahead."""
    settings = make_settings(proxy.url, NOBODY, default_token_quota=1000, quota_period="day")
    two_days_ahead = dynamodb_time.Clock(lambda: NOON + 2 * 86_400, steady=clock)
    async with Store.connected(settings, two_days_ahead) as ours, Ledger(ours, settings).running() as ledger:
        proxy.strike("break", operation="GetItem")
        await spend(ledger, 42)
        await ledger.settled()

    book = await store.read(ACCOUNT, "2026-11-23")
    assert (book and book.used, await store.read(ACCOUNT, "2026-11-25")) == (42, None)
    [receipt] = await read_receipts(store, ACCOUNT)
    assert receipt["receipt"].startswith("2026-11-23T12")


async def test_a_request_does_not_wait_longer_for_the_time_than_for_its_hold(store: Store, proxy: Proxy):
    proxy.always = "break"
    settings = make_settings(proxy.url, NOBODY, reserve_timeout=0.2)
    async with Store.connected(settings) as ours, Ledger(ours, settings).running() as ledger:
        async with asyncio.timeout(10):
            with pytest.raises(LedgerUnavailable):
                await spend(ledger, 42)


async def _lease(ledger: Ledger, period: str) -> Lease:
    return (await ledger.read(ACCOUNT, period)).leases[ledger.process]
