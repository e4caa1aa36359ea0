"""How fast a model generates, learned from answers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.ledger import rates
from gptdock.ledger.rates import ENOUGH, KEPT, LEAST, MARGIN, MOST, QUANTILE, UNKNOWN, UNKNOWN_AHEAD, Pace, Rate

TOKENS, SECONDS = st.integers(0, 10**6), st.floats(0, 10**4)
answers = st.tuples(TOKENS, SECONDS)
speeds = st.floats(LEAST, MOST)
MINUTE = 60.0


def learned(*speeds: float) -> Rate:
    """The rate of a model of which answers were seen that took a minute each, at these tokens a second."""
    rate = Rate()
    for speed in speeds:
        rate.observe(round(speed * MINUTE), MINUTE)
    return rate


@given(st.lists(answers))
def test_a_rate_is_kept_in_bounds(seen):
    rate = Rate()
    for tokens, seconds in seen:
        rate.observe(tokens, seconds)

    assert LEAST <= rate.per_second <= MOST
    assert rate.is_known == (len(seen) >= ENOUGH)


@given(st.lists(speeds, min_size=ENOUGH, max_size=3 * KEPT))
def test_a_rate_is_an_upper_quantile_of_the_last_answers(seen):
    rate, last = learned(*seen).per_second, sorted(seen[-KEPT:])

    below = [speed for speed in last if speed <= rate + 1 / MINUTE]
    assert len(below) >= QUANTILE * len(last)
    assert any(math.isclose(rate, speed, abs_tol=1 / MINUTE) for speed in last)


@given(st.lists(speeds, min_size=ENOUGH, max_size=KEPT), st.randoms())
def test_a_rate_does_not_depend_on_the_order_of_the_answers_that_are_kept(seen, random):
    shuffled = random.sample(seen, len(seen))

    assert learned(*seen).per_second == learned(*shuffled).per_second


@given(st.lists(speeds, min_size=ENOUGH, max_size=KEPT), st.lists(speeds, min_size=KEPT, max_size=KEPT))
def test_a_rate_forgets_all_but_the_last_answers(before, last):
    assert learned(*before, *last).per_second == learned(*last).per_second


@given(st.lists(speeds, max_size=ENOUGH - 1))
def test_a_few_slow_answers_do_not_lower_a_rate_and_a_fast_one_raises_it(seen):
    assert learned(*seen).per_second >= UNKNOWN
    assert learned(*seen, 900).per_second >= 900


@pytest.mark.parametrize(("tokens", "seconds"), [(3, 2.0), (15, 60.0), (20, 0.4), (0, 0.0)])
def test_an_answer_too_short_to_tell_does_not_lower_a_rate(tokens, seconds):
    rate = Rate()
    for _ in range(KEPT):
        rate.observe(tokens, seconds)

    assert (rate.is_known, rate.per_second) == (True, UNKNOWN)


def test_a_short_answer_that_is_fast_raises_a_rate():
    rate = learned(*[50] * KEPT)
    for _ in range(KEPT // 4):
        rate.observe(350, 0.1)

    assert rate.per_second == 700


@given(st.lists(answers), st.lists(answers, min_size=1), st.floats(0.001, 100))
def test_a_will_allows_for_no_less_than_was_seen_of_its_answer(of_others, of_it, seconds):
    rate = Rate()
    for tokens, took in of_others:
        rate.observe(tokens, took)
    pace, fastest = Pace(rate, 0), 0.0

    for tokens, took in of_it:
        pace.note(tokens, took)
        fastest = max(fastest, tokens / max(took, rates.TELLING_SECONDS))

    assert pace.ahead(seconds) >= seconds * fastest
    assert pace.unseen(seconds) >= seconds * fastest
    assert pace.ahead(seconds) >= seconds * LEAST


@given(speeds, st.floats(0, 100))
def test_a_will_of_a_known_model_has_a_margin_over_its_rate(speed, seconds):
    rate = learned(*[speed] * ENOUGH)

    assert 0 <= Pace(rate, 0).ahead(seconds) - seconds * rate.per_second * MARGIN + 1e-6 <= 1 + 2e-6


def test_a_will_of_an_unknown_model_follows_what_its_answer_shows():
    pace = Pace(Rate(), 0)
    first = pace.ahead(1)
    pace.note(2, 0.1)
    early = pace.ahead(1)
    pace.note(20, 1.0)

    assert (first, early, pace.ahead(1)) == (UNKNOWN_AHEAD, UNKNOWN_AHEAD, 40)


def test_a_stall_does_not_make_an_answer_slower():
    pace = Pace(Rate(), 0)
    pace.note(100, 1.0)
    pace.note(101, 30.0)

    assert pace.ahead(1) == 200


def test_an_answer_without_usage_teaches_by_the_fastest_of_what_was_seen():
    rate = Rate()
    for _ in range(ENOUGH):
        pace = Pace(rate, 0)
        pace.note(300, 1.0)
        pace.note(301, 30.0)
        pace.teach()

    assert (rate.is_known, rate.per_second) == (True, 300)


@pytest.mark.parametrize(("tokens", "seconds"), [(15, 1.0), (16, 0.4)])
def test_an_answer_without_usage_that_tells_little_teaches_nothing(tokens: int, seconds: float):
    rate = Rate()
    for _ in range(ENOUGH):
        pace = Pace(rate, 0)
        pace.note(tokens, seconds)
        pace.teach()

    assert not rate.is_known


@pytest.mark.parametrize(("seconds", "tokens"), [(0, 0), (0.001, 1), (1, 200), (1.0001, 201), (2.5, 500)])
def test_unseen_time_of_an_unknown_model_is_charged_200_tokens_a_second_rounded_up(seconds, tokens):
    assert Pace(Rate(), 0).unseen(seconds) == tokens


@pytest.mark.parametrize(("age", "seconds"), [(0, 0.5), (0.5, 0.5), (1, 1), (3, 3), (5, 5), (60, 5)])
def test_a_young_answer_of_an_unknown_model_is_renewed_sooner(age, seconds):
    assert Pace(Rate(), 100).renew_after(100 + age, 5) == seconds
    assert Pace(learned(*[50] * ENOUGH), 100).renew_after(100 + age, 5) == 5


def test_a_renewal_is_never_later_than_its_longest_time():
    assert Pace(Rate(), 0).renew_after(0, 0.05) == 0.05
