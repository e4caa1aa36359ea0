"""What becomes of the leases of processes that are killed or paused."""

from collections.abc import AsyncIterator

import pytest

from gptdock.ledger import clock as dynamodb_time
from gptdock.ledger.holds import Ledger
from gptdock.ledger.store import Store
from tests.harness.admin import ANNA, operate
from tests.harness.ledgers import ACCOUNT, Clock, Start, charge, claim, numbers, spend
from tests.harness.proxy import Proxy, proxied
from tests.harness.service import NOBODY, make_settings


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


async def test_a_process_that_was_swept_names_the_requests_that_its_will_stood_for(
    start: Start, store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
):
    async with (
        start() as paused,
        start() as other,
        paused.hold(claim(300, "r#1")) as hold,
        paused.hold(claim(300, "r2")) as second,
    ):
        clock.now += 60 + 10 + 2
        await numbers(other, store)
        hold.settle(charge(77), "complete")
        second.settle(charge(3), "complete")
        await paused.settled()

    swept = {record.message: vars(record) for record in caplog.records if "swept" in record.message}
    assert swept["own lease swept"]["request_ids"] == ["r#1", "r2"]
    assert swept["own lease swept"]["requests"] == swept["lease swept"]["requests"] == 2
