"""The ledger against moto's DynamoDB, with answers lost, late and refused in between."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from gptdock.accounts import Account
from gptdock.errors import ClientNotFound, LedgerUnavailable, QuotaExceeded
from gptdock.ledger import backoff
from gptdock.ledger.book import Lease
from gptdock.ledger.book_loop import COUNTED_AT_ONCE
from gptdock.ledger.charges import Charge
from gptdock.ledger.holds import Claim, Hold, Ledger
from gptdock.ledger.lease_state import MOST_RECEIPTS
from gptdock.ledger.store import Store
from gptdock.telemetry import logs
from gptdock.telemetry.metrics import TOKENS_CHARGED
from tests.harness.proxy import Fault, Proxy, proxied
from tests.harness.service import NOBODY, make_settings, read_receipts

ACCOUNT = Account("c1", "p1")
NOON = 1795435200.0  # 2026-11-23T12:00:00Z
Start = Callable[..., AbstractAsyncContextManager[Ledger]]


class Clock:
    """A clock that stands until a test moves it."""

    now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(behind: Store, clock: Clock) -> Start:
    """Starts a ledger behind the proxy; without `settled` it is left as a process that was killed leaves it."""

    @asynccontextmanager
    async def start(
        *, settled: bool = True, store: Store = behind, clock: Clock = clock, **changes: object
    ) -> AsyncIterator[Ledger]:
        settings = make_settings("http://127.0.0.1:1", NOBODY, default_token_quota=1000, **changes)
        async with Ledger(store, settings, clock).running() as ledger:
            yield ledger
            if settled:
                async with asyncio.timeout(10):
                    await ledger.settled()

    return start


@pytest.fixture
async def doom(dynamodb: str) -> AsyncIterator[Proxy]:
    """What will cut off the process that is killed, so that nothing it still does arrives."""
    async with proxied(dynamodb) as doom:
        yield doom


@pytest.fixture
async def doomed(doom: Proxy, store: Store) -> AsyncIterator[Store]:
    """The store of the process that is killed."""
    async with Store.connected(make_settings(doom.url, NOBODY)) as doomed:
        yield doomed


def claim(completion_tokens: int = 90, request_id: str = "r") -> Claim:
    """A claim whose full hold is 10 tokens more than its completion may take."""
    return Claim(ACCOUNT, "user", "model", request_id, 2, completion_tokens)


def charge(tokens: int) -> Charge:
    return Charge(tokens, 0, tokens, "upstream")


async def spend(ledger: Ledger, tokens: int, completion_tokens: int = 90) -> Hold:
    async with ledger.hold(claim(completion_tokens)) as hold:
        hold.settle(charge(tokens), "complete")
    return hold


async def doom_when_settled(ledger: Ledger, doom: Proxy) -> None:
    """Cut the process off once its book shows what it spent."""
    while not (await ledger.read(ACCOUNT, ledger.period())).used:
        continue
    doom.always = "break"


async def numbers(ledger: Ledger, store: Store) -> tuple[int, int, int, int]:
    """left, held, used, sum of receipts."""
    await ledger.settled()
    book = await ledger.read(ACCOUNT, ledger.period())
    receipts = await read_receipts(store, ACCOUNT)
    return book.left, book.held, book.used, sum(receipt["tokens"] for receipt in receipts)


async def test_a_settled_hold_costs_what_was_used(start: Start, store: Store):
    async with start() as ledger:
        hold = await spend(ledger, 42)

        assert (hold.tokens, hold.max, hold.left) == (100, 1000, 900)
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

    before = TOKENS_CHARGED.labels("upstream")._value.get()
    async with start() as ledger:
        async with ledger.hold(claim()) as hold:
            if first == "settled":
                hold.settle(charge(42), "complete")
            else:
                hold.release()
            hold.settle_later(count(), "complete")
        used = 42 if first == "settled" else 0

        assert await numbers(ledger, store) == (1000 - used, 0, used, used)
    assert (counted, TOKENS_CHARGED.labels("upstream")._value.get() - before) == ([], used)


async def test_usage_above_the_hold_is_charged(start: Start, store: Store):
    async with start() as ledger:
        await spend(ledger, 1200)

        assert await numbers(ledger, store) == (-200, 0, 1200, 1200)
        with pytest.raises(QuotaExceeded):
            await spend(ledger, 1)


async def test_only_the_first_end_of_a_hold_counts(start: Start, store: Store):
    async with start() as ledger:
        hold = await spend(ledger, 42)
        hold.settle(charge(99), "complete")
        hold.release()

        assert await numbers(ledger, store) == (958, 0, 42, 42)


async def test_of_many_at_once_those_that_fit_are_admitted(start: Start, store: Store, proxy: Proxy):
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
            assert (hold.tokens, hold.left) == (50, 0)
            assert hold.completion_tokens == 40


async def test_what_is_left_must_hold_a_minimal_answer(start: Start):
    async with start() as ledger:
        await spend(ledger, 975)
        with pytest.raises(QuotaExceeded):
            await spend(ledger, 1)


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


async def test_nobody_is_denied_while_a_lost_hold_may_still_arrive(start: Start, store: Store, proxy: Proxy):
    """Shut out, it can no longer hold tokens for nobody."""
    async with start(reserve_timeout=10) as ledger, start() as other:
        await spend(ledger, 1)
        async with other.hold(claim(880)):
            proxy.strike("late")
            with pytest.raises(QuotaExceeded):
                await spend(ledger, 1, completion_tokens=600)
        await other.settled()

        assert await proxy.release() == [400]
        assert await numbers(ledger, store) == (999, 0, 1, 1)


async def test_a_lost_hold_that_arrives_before_it_is_shut_out_is_admitted(start: Start, store: Store, proxy: Proxy):
    async with start(reserve_timeout=10) as ledger:
        await spend(ledger, 1)
        proxy.strike("late")
        waiting = asyncio.create_task(spend(ledger, 42))
        await proxy.struck.wait()
        await proxy.release()
        await waiting

        assert await numbers(ledger, store) == (957, 0, 43, 43)


@pytest.mark.parametrize("fault", ["hole", "throttle", "break", "lose"])
async def test_a_hold_that_cannot_be_told_is_refused_in_time_and_given_back(
    start: Start, store: Store, proxy: Proxy, fault
):
    async with start(reserve_timeout=0.3) as ledger:
        await spend(ledger, 1)
        proxy.always = fault
        async with asyncio.timeout(10):
            with pytest.raises(LedgerUnavailable):
                await spend(ledger, 1)
        proxy.always = None

        assert await numbers(ledger, store) == (999, 0, 1, 1)


async def test_who_leaves_while_waiting_holds_nothing(start: Start, store: Store, proxy: Proxy):
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


async def test_receipts_are_put_after_an_outage_of_their_table(start: Start, store: Store, proxy: Proxy):
    async with start() as ledger:
        proxy.strike("throttle", "lose", operation="BatchWriteItem")
        await spend(ledger, 42)

        assert await numbers(ledger, store) == (958, 0, 42, 42)


async def test_a_lease_keeps_few_receipts_and_none_is_lost(start: Start, store: Store, proxy: Proxy):
    proxy.strike("hole", operation="BatchWriteItem")
    async with start() as ledger:
        await asyncio.gather(*(spend(ledger, 1, completion_tokens=1) for _ in range(60)))
        book = await ledger.read(ACCOUNT, ledger.period())
        assert len(book.leases[ledger.process].receipts) <= MOST_RECEIPTS

        assert await numbers(ledger, store) == (940, 0, 60, 60)


async def test_while_receipts_cannot_be_put_nobody_is_denied_for_it(start: Start, store: Store, proxy: Proxy):
    """Beyond 32 receipts a charge waits for room in the lease; it holds what it costs then, not all that it held."""
    throttled: list[Fault] = ["throttle"] * 1000
    proxy.strike(*throttled, operation="BatchWriteItem")
    async with start() as ledger:
        for _ in range(60):
            await spend(ledger, 1)
        proxy.faults.clear()

        assert await numbers(ledger, store) == (940, 0, 60, 60)


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


async def test_a_process_that_comes_back_after_its_lease_was_removed_starts_anew(
    start: Start, store: Store, clock: Clock
):
    async with start(progress_seconds=0.1) as paused, start() as other:
        async with paused.hold(claim(300)) as hold:
            clock.now += 60 + 10 + 2
            await numbers(other, store)
            clock.now += 3600 + 10 + 2
            await numbers(other, store)
            hold.settle(charge(77), "complete")
        await spend(paused, 5)

        left, held, used, receipts = await numbers(paused, store)
        assert (held, used, left) == (0, receipts, 1000 - receipts)


async def test_a_hold_settles_in_the_period_that_it_was_taken_in(start: Start, store: Store, clock: Clock):
    async with start(quota_period="day") as ledger:
        async with ledger.hold(claim()) as hold:
            clock.now += 86_400
            await spend(ledger, 5)
            hold.settle(charge(42), "complete")
        await ledger.settled()

        yesterday, today = [await ledger.read(ACCOUNT, period) for period in ("2026-11-23", "2026-11-24")]
        assert (yesterday.used, today.used) == (42, 5)


@pytest.mark.parametrize("jump", [-3600, 3600])
async def test_a_clock_that_jumps_during_a_hold_changes_no_charge_and_no_lease_ends_sooner(
    start: Start, store: Store, clock: Clock, jump: int
):
    async with start(quota_period="day", progress_seconds=0.05) as ledger, start() as other:
        clock.now = NOON + 12 * 3600 - 1800 * (1 if jump > 0 else -1)  # so that it is another day afterwards
        period, taken_at = ledger.period(), clock.now
        async with ledger.hold(claim()) as hold:
            clock.now += jump
            async with asyncio.timeout(10):
                while (await _lease(ledger, period)).number < 3:  # it was renewed meanwhile
                    continue
            lease = await _lease(ledger, period)
            await other.read(ACCOUNT, period)
            hold.settle(charge(42), "complete")
        await ledger.settled()

        book = await ledger.read(ACCOUNT, period)
        assert (lease.held, lease.expires_at) == (100, max(taken_at, clock.now) + 60)
        assert (book.left, book.held, book.used) == (958, 0, 42)
        [receipt] = await read_receipts(store, ACCOUNT)
        assert (receipt["tokens"], receipt["period"], ledger.period() != period) == (42, period, True)


@pytest.mark.parametrize("jump", [-3600, 3600])
async def test_another_s_clock_that_jumps_costs_a_living_process_nothing(start: Start, store: Store, jump: int):
    """An hour ahead it sweeps what is open: that is revived and charged as it was."""
    wrong = Clock()
    async with start() as ledger, start(clock=wrong) as other:
        async with ledger.hold(claim()) as hold:
            wrong.now += jump
            swept = await numbers(other, store)
            await spend(other, 5)
            hold.settle(charge(42), "complete")
        await spend(ledger, 7)
        await other.settled()

        assert swept[1] == (0 if jump > 0 else 100)
        assert await numbers(ledger, store) == (1000 - 54, 0, 54, 54)


async def _lease(ledger: Ledger, period: str) -> Lease:
    return (await ledger.read(ACCOUNT, period)).leases[ledger.process]


async def test_open_holds_renew_their_lease_and_will(start: Start, clock: Clock):
    async with start(progress_seconds=0.05) as ledger, ledger.hold(claim(500)) as hold:
        hold.count_used = lambda: 123
        clock.now += 50
        book = await ledger.read(ACCOUNT, ledger.period())
        while book.leases[ledger.process].will != 133:
            book = await ledger.read(ACCOUNT, ledger.period())

        assert book.leases[ledger.process].expires_at == NOON + 50 + 60


async def test_a_forgotten_book_is_taken_up_again(start: Start, store: Store):
    async with start() as ledger:
        await spend(ledger, 1)
        ledger._books.clear()
        await spend(ledger, 2)

        assert await numbers(ledger, store) == (997, 0, 3, 3)


async def test_an_unknown_client_is_not_found(start: Start):
    async with start() as ledger:
        with pytest.raises(ClientNotFound):
            await ledger.read(ACCOUNT, "all")


async def test_what_a_book_s_loop_logs_is_of_no_single_request(start: Start, proxy: Proxy):
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


async def test_a_hold_does_not_wait_until_all_open_requests_are_counted(start: Start):
    def count_used(number: int) -> int:
        counted.add(number)
        begun.set()
        if len(counted) == most:
            done.set()
        return 0

    counted: set[int] = set()
    most, begun, done = 3 * COUNTED_AT_ONCE, asyncio.Event(), asyncio.Event()
    async with start(progress_seconds=0.05) as ledger, AsyncExitStack() as holds:
        for number in range(most):
            hold = await holds.enter_async_context(ledger.hold(claim(1)))
            hold.count_used = partial(count_used, number)
        counted.clear()
        begun.clear()
        done.clear()
        await begun.wait()

        async with ledger.hold(claim(1)):
            assert len(counted) <= COUNTED_AT_ONCE + 1
        async with asyncio.timeout(10):
            await done.wait()  # the others' turn comes


async def test_progress_lets_the_loop_breathe_between_requests(start: Start):
    """Each request counts its new text, which takes up to a millisecond; a client may have hundreds."""

    def count_used() -> int:
        turns.append(turn)
        return 0

    turns: list[int] = []
    turn = 0
    async with start(progress_seconds=0.05) as ledger, AsyncExitStack() as holds:
        for _ in range(8):
            hold = await holds.enter_async_context(ledger.hold(claim(1)))
            hold.count_used = count_used
        turns.clear()
        async with asyncio.timeout(10):
            while len(turns) < 8:
                turn += 1
                await asyncio.sleep(0)

    assert len(set(turns[:8])) == 8
