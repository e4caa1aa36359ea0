"""DynamoDB's time, learned from answers that are slow, late, out of order, wrong, or without a date."""

import logging
from dataclasses import dataclass
from email.utils import formatdate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptdock.ledger.clock import AGREE_SECONDS, DRIFT, Clock

NOON = 1795435200  # 2026-11-23T12:00:00Z
DATE = formatdate(NOON, usegmt=True)


@dataclass
class World:
    """DynamoDB's time, and two clocks of a machine: one that may be set, and one that counts the seconds since boot."""

    now: float = NOON
    skew: float = 0.0
    booted_at: float = NOON - 777.25
    drift: float = 0.0

    def machine(self) -> float:
        return self.now + self.skew

    def steady(self) -> float:
        return (self.now - self.booted_at) * (1 + self.drift)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def clock(world: World) -> Clock:
    return Clock(world.machine, world.steady)


def answer(clock: Clock, world: World, ahead: float = 0) -> int:
    """An answer that takes no time, by a server whose clock is that much ahead."""
    return clock.learn(formatdate(world.now + ahead, usegmt=True), clock.steady())


spans = st.floats(0, 100)
calls = st.lists(st.tuples(spans, spans, spans), min_size=1, max_size=20)  # before, until the answer, until it is read


@given(calls, st.floats(-3600, 3600), st.floats(-DRIFT / 2, DRIFT / 2), st.floats(0, 1))
@example([(1.1015625, 0.0, 33.015625)], 0.0, -0.0004738002913400858, 0.890625)  # it runs slow
def test_no_answer_is_dated_later_than_it_was_given_and_no_lease_ends_too_early(calls, skew, drift, phase):
    world = World(NOON + phase, skew, drift=drift)
    clock = Clock(world.machine, world.steady)
    for before, until_answered, until_read in calls:
        world.now += before
        sent_at = clock.steady()
        world.now += until_answered
        answered_at, date = world.now, formatdate(world.now, usegmt=True)
        world.now += until_read
        seen_at = clock.learn(date, sent_at)

        assert answered_at - 1 <= seen_at <= answered_at
        assert clock.latest() >= world.now - 0.001
        assert clock.sure
        assert clock.latest() <= world.now + 200 + 3


@given(st.permutations(range(8)))
def test_answers_that_come_in_another_order_tell_the_same_time(order):
    world = World()
    clock = Clock(world.machine, world.steady)
    sent_at = [world.steady() + 0.3 * number for number in range(8)]
    dates = [formatdate(world.now + 0.3 * number + 0.1, usegmt=True) for number in range(8)]
    world.now += 3
    for number in order:
        clock.learn(dates[number], sent_at[number])

    assert world.now - 1 <= clock() <= world.now + 1
    assert world.now <= clock.latest() <= world.now + 2


def test_many_answers_tell_the_time_better_than_a_second(clock: Clock, world: World):
    for _ in range(40):
        world.now += 0.11
        answer(clock, world)

    assert abs(clock() - world.now) < 0.1


def test_one_server_with_a_wrong_clock_is_not_believed(clock: Clock, world: World):
    answer(clock, world)

    assert answer(clock, world, ahead=3600) <= world.now
    assert not clock.sure
    assert answer(clock, world) == NOON
    assert clock.sure
    assert abs(clock() - world.now) <= 1


def test_a_date_behind_judges_later(clock: Clock, world: World):
    answer(clock, world)

    assert answer(clock, world, ahead=-3600) == NOON - 3600


@pytest.mark.parametrize("slept", [AGREE_SECONDS + 3, 75, 86_400])
def test_a_machine_that_was_suspended_believes_the_second_answer(clock: Clock, world: World, slept: float):
    answer(clock, world)
    world.now += slept
    world.booted_at += slept

    assert answer(clock, world) < world.now - slept + 2
    assert not clock.sure
    assert answer(clock, world) == int(world.now)
    assert clock.sure
    assert abs(clock() - world.now) <= 1


def test_two_doubtful_answers_that_differ_change_nothing(clock: Clock, world: World):
    for ahead in (0, 3600, 7200):
        answer(clock, world, ahead)

    assert clock.sure
    assert abs(clock() - world.now) <= 1


@pytest.mark.parametrize("date", ["", "now", "Thu, 26 Nov 2026", "Thu, 99 Nov 2026 11:00:00 GMT", DATE[:-3] + "+0000"])
def test_a_date_that_cannot_be_read_tells_nothing(clock: Clock, world: World, date: str):
    answer(clock, world)
    world.now += 100

    assert world.now - 2 <= clock.learn(date, clock.steady()) <= world.now
    assert clock.sure


def test_without_any_date_the_clock_of_the_machine_must_do(clock: Clock, world: World, caplog):
    world.skew = 120
    assert not clock.sure
    for _ in range(2):
        assert clock.learn("", clock.steady()) == NOON + 120

    assert clock.sure
    assert (clock(), clock.latest()) == (NOON + 120, NOON + 120)
    assert caplog.messages == ["DynamoDB sends no date: leases go by the clock of this machine"]


def test_the_first_date_ends_the_rule_of_the_machine_s_clock(clock: Clock, world: World):
    world.skew = 120
    clock.learn("", clock.steady())
    answer(clock, world)

    assert abs(clock() - world.now) <= 1


def test_a_machine_whose_clock_is_off_is_told_of_once_per_change(clock: Clock, world: World, caplog):
    caplog.set_level(logging.INFO)
    for skew in (0, 3, 120, 122, 118, 600, 601, 0, 0, -7200):
        world.skew = skew
        world.now += 1.5
        answer(clock, world)

    off, right = "the clock of this machine is off", "the clock of this machine is right again"
    assert [(record.message, round(vars(record)["skew_seconds"], -1)) for record in caplog.records] == [
        (off, 120),
        (off, 600),
        (right, 0),
        (off, -7200),
    ]
    assert round(clock.skew, -1) == -7200
