"""Which attempts are retried, when, and how many in all."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.upstream import retry
from gptdock.upstream.retry import Budget

NOW = datetime(2026, 11, 23, 5, 5, 45, tzinfo=UTC)


def _most_jitter() -> float:
    return 1.0


def _no_jitter() -> float:
    return 0.0


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_faults_are_retried(status):
    assert retry.is_wanted(status, {})


@pytest.mark.parametrize("status", [201, 204, 301, 307, 400, 401, 403, 404, 409, 422, 501, 505, 529])
def test_other_statuses_are_not_retried(status):
    assert not retry.is_wanted(status, {})


@pytest.mark.parametrize(("told", "wanted"), [("true", True), ("TRUE", True), ("false", False), ("False", False)])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_x_should_retry_decides_whatever_the_status(status, told, wanted):
    assert retry.is_wanted(status, {"x-should-retry": told}) is wanted


def test_an_unknown_x_should_retry_changes_nothing():
    assert retry.is_wanted(500, {"x-should-retry": "perhaps"})
    assert not retry.is_wanted(400, {"x-should-retry": "perhaps"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        (" 7 ", 7.0),
        ("3600", 3600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Mon, 23 Nov 2026 05:05:49 -0000", 4.0),  # a date without a zone is in UTC
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(text, seconds):
    assert retry.retry_after({"Retry-After": text}, NOW) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "1.5.0", ".5", "1e3", "NaN", "٣", "²", "9" * 10, "9" * 5000, "Mon, 99 Nov"]
)
def test_a_malformed_retry_after_is_none(text):
    assert retry.retry_after({"Retry-After": text}, NOW) is None


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 23 Nov 2026 05:05:45 +99999999999999999999",
        "Mon, 23 Nov 99999999999999999999 05:05:45 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 0001 00:00:00 +2359",
    ],
)
def test_a_retry_after_beyond_all_dates_does_no_harm(text):
    seconds = retry.retry_after({"Retry-After": text}, NOW)

    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    "headers",
    [{"Retry-After": "999999999"}, {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}, {"retry-after-ms": "999999999"}],
)
def test_a_retry_after_is_no_longer_than_a_day(headers):
    assert retry.retry_after(headers, NOW) == retry.DAY


@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [("250", 0.25), ("0", 0.0), ("1.5", 0.0015), (" 250 ", 0.25)] + [(odd, 7.0) for odd in ("", "-1", "inf", "soon")],
)
def test_milliseconds_are_read_before_seconds(milliseconds, seconds):
    assert retry.retry_after({"retry-after-ms": milliseconds, "Retry-After": "7"}, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "told", "helps"),
    [
        *((status, "", False) for status in (201, 301, 400, 401, 403, 404, 413, 422)),
        *((status, "", True) for status in (408, 409, 425, 429, 500, 501, 503, 529)),
        (500, "false", False),
        (429, "False", False),
        (404, "true", True),
    ],
)
def test_asking_again_may_help_unless_a_refusal_lasts_or_the_upstream_says_no(status, told, helps):
    assert retry.may_help(status, {"x-should-retry": told} if told else {}) == helps


def test_an_absent_retry_after_is_none():
    assert retry.retry_after({}, NOW) is None


dates = st.builds("Mon, {} Nov {} 05:05:45 {:+}".format, st.integers(0, 40), st.integers(0), st.integers())


@given(st.text() | dates)
def test_no_retry_after_is_negative_or_raises(text):
    seconds = retry.retry_after({"Retry-After": text}, NOW)

    assert seconds is None or seconds >= 0


@given(st.integers(0, 10), st.none() | st.floats(0, 1e9), st.floats(0, 1))
def test_at_most_two_retries_and_none_is_late(retries, asked, random):
    seconds = retry.pause(retries, asked, lambda: random)

    if retries >= 2 or (asked or 0) > 5:
        assert seconds is None
    elif asked is None:
        assert seconds == 0.5 * 2**retries * random
    else:
        assert seconds == asked


def test_the_pause_doubles_with_full_jitter():
    assert [retry.pause(retries, None, _most_jitter) for retries in (0, 1, 2)] == [0.5, 1.0, None]
    assert retry.pause(0, None, _no_jitter) == 0


def test_a_retry_after_of_zero_is_no_pause():
    assert retry.pause(0, 0.0, _most_jitter) == 0


@pytest.mark.parametrize(("asked", "pause"), [(5.0, 5.0), (5.1, None)])
def test_a_pause_lasts_five_seconds_at_most(asked, pause):
    assert retry.pause(0, asked, _no_jitter) == pause


def test_the_budget_has_fifty_retries():
    budget = Budget()

    assert sum(budget.take() for _ in range(100)) == 50


def test_the_budget_does_not_grow_beyond_its_size():
    budget = Budget(2)

    for _ in range(1000):
        budget.first_attempt()

    assert [budget.take() for _ in range(3)] == [True, True, False]


@given(st.integers(0, 2000))
def test_a_lasting_failure_adds_a_tenth_of_the_load_and_fifty(requests):
    budget, retries = Budget(), 0

    for _ in range(requests):
        budget.first_attempt()
        retries += budget.take()
        retries += budget.take()

    assert retries <= 50 + requests / 10
    assert retries >= min(2 * requests, 49)
