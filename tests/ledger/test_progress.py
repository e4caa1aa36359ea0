"""What open requests have used is counted for a renewal, and neither holds nor other tasks wait for that."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from gptdock.ledger.rates import ENOUGH, FIRST_RENEWAL_SECONDS, Pace, Rate
from gptdock.ledger.renewals import COUNTED_AT_ONCE, Renewals
from tests.harness.ledgers import Start, claim
from tests.harness.processes import PATIENCE_SECONDS


@dataclass
class Asked:
    """A request, as far as its renewals need it."""

    will: Callable[[float], int]
    pace: Pace
    request_id: str = "r"


async def test_a_hold_does_not_wait_until_all_open_requests_are_counted(start: Start):
    def count_used(number: int) -> int:
        counted.add(number)
        begun.set()
        if len(counted) == most:
            done.set()
        return 0

    counted: set[int] = set()
    most, begun, done = 5 * COUNTED_AT_ONCE, asyncio.Event(), asyncio.Event()
    async with start(progress_seconds=0.05) as ledger, AsyncExitStack() as holds:
        for number in range(most):
            hold = await holds.enter_async_context(ledger.hold(claim(1)))
            hold.count_used = partial(count_used, number)
        counted.clear()
        begun.clear()
        done.clear()
        await begun.wait()

        async with ledger.hold(claim(1)):
            assert len(counted) <= 3 * COUNTED_AT_ONCE
        async with asyncio.timeout(PATIENCE_SECONDS):
            await done.wait()  # the others' turn comes


async def test_progress_gives_way_to_other_tasks_after_a_few_requests(start: Start):
    """Each request counts its new text, which takes up to a millisecond; a client may have hundreds."""

    def count_used() -> int:
        turns.append(turn)
        return 0

    turns: list[int] = []
    most, turn = 4 * COUNTED_AT_ONCE, 0
    async with start(progress_seconds=0.05) as ledger, AsyncExitStack() as holds:
        for _ in range(most):
            hold = await holds.enter_async_context(ledger.hold(claim(1)))
            hold.count_used = count_used
        turns.clear()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(turns) < most:
                turn += 1
                await asyncio.sleep(0)

    assert len(set(turns[:most])) >= 4


async def test_a_hold_waits_for_no_turn_of_the_loop_while_others_are_counted(start: Start):
    """A busy loop takes a third of a second for each turn: of 5,000 streams that began at once, 1,900 got a 503."""

    def count_used() -> int:
        turns.append(turn)
        return 0

    turns: list[int] = []
    turn, admitted = 0, asyncio.Event()

    async def ask() -> None:
        async with ledger.hold(claim(1)):
            admitted.set()

    async with start(progress_seconds=0.05) as ledger, AsyncExitStack() as holds:
        for _ in range(COUNTED_AT_ONCE):
            hold = await holds.enter_async_context(ledger.hold(claim(1)))
            hold.count_used = count_used
        asking = asyncio.create_task(ask())
        turns.clear()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not admitted.is_set():
                turn += 1
                await asyncio.sleep(0)
        await asking

    assert len(set(turns)) <= 1


async def test_a_request_alone_is_first_counted_when_it_begins_and_not_at_once_again():
    def will(seconds: float) -> int:
        asked.append(seconds)
        return 7

    asked: list[float] = []
    renewals = Renewals(most_seconds=60)
    pace = Pace(Rate(), asyncio.get_running_loop().time())

    for request_id in (1, 2):
        assert renewals.begin(request_id, Asked(will, pace)) == 7
        assert not renewals.may_be_due()
        assert renewals.end(request_id)

    assert asked == [FIRST_RENEWAL_SECONDS] * 2


async def test_a_will_that_is_counted_late_allows_for_no_less_than_was_used(monkeypatch: pytest.MonkeyPatch):
    """On a busy loop all may become due while the young are counted: a time to come of -1 s took 800 tokens off."""

    now, asked = 0.0, list[float]()

    def will(seconds: float) -> int:
        nonlocal now
        now = 61.0 if now else 0.0
        asked.append(seconds)
        return 7

    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    renewals, known = Renewals(most_seconds=60), Rate()
    for _ in range(ENOUGH):
        known.observe(100, 1.0)
    for request_id, rate in enumerate((Rate(), Rate(), known)):
        renewals.begin(request_id, Asked(will, Pace(rate, now)))

    now = 59.5
    counted = await renewals.count(lambda: False)

    assert counted == {0: 7, 1: 7}
    assert asked == [FIRST_RENEWAL_SECONDS] * 2 + [60, FIRST_RENEWAL_SECONDS, 60]
    assert renewals.may_be_due()
