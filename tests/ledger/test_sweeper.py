"""What becomes of the leases of processes that are killed, paused, or have a wrong clock."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gptdock.errors import QuotaExceeded
from gptdock.ledger import clock as dynamodb_time
from gptdock.ledger.book import Lease
from gptdock.ledger.holds import Ledger
from gptdock.ledger.store import Store
from tests.harness.admin import ANNA, operate
from tests.harness.ledgers import ACCOUNT, NOON, Clock, Start, charge, claim, numbers, spend
from tests.harness.proxy import Proxy, proxied
from tests.harness.service import NOBODY, make_settings, read_receipts


@pytest.fixture
async def doom(dynamodb: str, clock: Clock) -> AsyncIterator[Proxy]:
    """What will cut off the process that is killed, so that nothing it still does arrives."""
    async with proxied(dynamodb, clock) as doom:
        yield doom


@pytest.fixture
async def doomed(doom: Proxy, store: Store, clock: Clock) -> AsyncIterator[Store]:
    """The store of the process that is killed."""
    async with Store.connected(make_settings(doom.url, NOBODY), dynamodb_time.Clock(steady=clock)) as doomed:
        yield doomed


async def doom_when_settled(ledger: Ledger, doom: Proxy) -> None:
    """Cut the process off once its book shows what it spent."""
    while not (await ledger.read(ACCOUNT, ledger.period())).used:
        continue
    doom.always = "break"


async def test_a_killed_process_is_charged_by_its_will(
    start: Start, store: Store, clock: Clock, doom: Proxy, doomed: Store
):
    async with start(settled=False, store=doomed, progress_seconds=0.1) as killed, killed.hold(claim(300)) as hold:
        hold.count_used = lambda: 2
        doom.always = "break"
    async with start() as other:
        clock.now += 60 + 10 + 2

        assert await numbers(other, store) == (1000 - 22, 0, 22, 22), "prompt 2 + 0.1 s x 200 tokens"


async def test_a_killed_process_leaves_nothing_in_the_end(
    start: Start, store: Store, clock: Clock, doom: Proxy, doomed: Store
):
    async with start(settled=False, store=doomed, progress_seconds=0.1) as killed, killed.hold(claim(300)) as hold:
        hold.count_used = lambda: 2
        await spend(killed, 42)
        await doom_when_settled(killed, doom)
    async with start() as other:
        for _ in range(3):
            clock.now += 4000
            await numbers(other, store)

        book = await other.read(ACCOUNT, other.period())
        assert not book.leases
        assert await numbers(other, store) == (1000 - 64, 0, 64, 64)


async def test_a_process_that_was_swept_and_comes_back_is_charged_what_it_used(
    start: Start, store: Store, clock: Clock
):
    async with start() as paused, start() as other:
        async with paused.hold(claim(300)) as hold:
            clock.now += 60 + 10 + 2
            swept = await numbers(other, store)
            hold.settle(charge(77), "complete")

        assert swept[1] == 0
        assert swept[2] == swept[3] > 0
        assert await numbers(paused, store) == (923, 0, 77, 77)


async def test_a_will_that_a_reset_took_back_is_not_taken_back_again(start: Start, store: Store, clock: Clock):
    """Otherwise `used` would fall below 0, and the client have more than its maximum."""
    async with start() as paused, start() as other:
        async with paused.hold(claim(300)) as hold:
            clock.now += 60 + 10 + 2
            await numbers(other, store)
            await operate(store, clock).reset(ACCOUNT, ANNA)
            forgiven = await numbers(other, store)
            hold.settle(charge(77), "complete")

        assert forgiven == (1000, 0, 0, 0)
        assert await numbers(paused, store) == (923, 0, 77, 77)


async def test_a_process_that_comes_back_after_its_lease_was_removed_starts_anew(
    start: Start, store: Store, clock: Clock
):
    """What was open is final: charged by its will, here the whole hold, and not again when it ends."""
    async with start(progress_seconds=20) as paused, start() as other:
        async with paused.hold(claim(300)) as hold:
            clock.now += 60 + 10 + 2
            await numbers(other, store)
            clock.now += 3600 + 10 + 2
            await numbers(other, store)
            hold.settle(charge(77), "complete")
        await spend(paused, 5)

        assert await numbers(paused, store) == (1000 - 315, 0, 315, 315)


async def test_a_commit_sweeps_what_a_killed_process_held(
    start: Start, store: Store, clock: Clock, doom: Proxy, doomed: Store
):
    async with start(settled=False, store=doomed, progress_seconds=0.1) as killed, killed.hold(claim(300)) as hold:
        hold.count_used = lambda: 2
        doom.always = "break"
    async with start() as other:
        clock.now += 60 + 10 + 2
        await spend(other, 5)

    book = await store.read(ACCOUNT, "all")
    assert book
    assert (book.held, book.used) == (0, 22 + 5)


async def test_a_process_leaves_its_own_lease_alone_when_it_expired(start: Start, clock: Clock):
    async with start(progress_seconds=20) as ledger, ledger.hold(claim()):
        clock.now += 60 + 10 + 2
        book = await ledger.read(ACCOUNT, ledger.period())

        assert (book.held, book.used) == (100, 0)


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
            async with asyncio.timeout(10):
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
            async with asyncio.timeout(10):
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


async def _lease(ledger: Ledger, period: str) -> Lease:
    return (await ledger.read(ACCOUNT, period)).leases[ledger.process]
