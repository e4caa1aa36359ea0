"""The period of a moment, and its end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.ledger import periods
from gptdock.moments import text

FAR = datetime(9999, 11, 1, tzinfo=UTC).timestamp()
moments = st.floats(0, FAR)
kinds = st.sampled_from(["day", "month"])


@pytest.mark.parametrize(
    ("kind", "period", "end"),
    [
        ("none", "all", None),
        ("day", "2026-11-23", datetime(2026, 11, 24, tzinfo=UTC)),
        ("month", "2026-11", datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_period_is_named_by_its_date(kind, period, end):
    now = datetime(2026, 11, 23, 5, 5, 45, tzinfo=UTC).timestamp()

    assert periods.current(kind, now) == period
    assert periods.end(period) == end


@pytest.mark.parametrize(
    ("period", "end"),
    [
        ("2026-12", "2027-01-01"),
        ("2026-01", "2026-02-01"),
        ("2026-12-31", "2027-01-01"),
        ("2028-02-28", "2028-02-29"),
        ("2028-02-29", "2028-03-01"),
        ("2026-02-28", "2026-03-01"),
    ],
)
def test_years_and_leap_days_end_where_they_should(period, end):
    assert periods.end(period) == datetime.fromisoformat(f"{end}T00:00:00Z")


def test_midnight_is_in_utc_and_belongs_to_the_new_day():
    midnight = datetime(2026, 11, 24, tzinfo=UTC).timestamp()

    assert periods.current("day", midnight - 0.001) == "2026-11-23"
    assert periods.current("day", midnight) == "2026-11-24"


@given(kinds, moments)
def test_a_moment_is_before_the_end_of_its_period(kind, now):
    end = periods.end(periods.current(kind, now))

    assert end is not None
    assert now < end.timestamp()


@given(kinds, moments)
def test_the_next_period_starts_where_one_ends(kind, now):
    period = periods.current(kind, now)
    end = periods.end(period)

    assert end is not None
    assert periods.current(kind, end.timestamp()) > period
    assert periods.current(kind, (end - timedelta(milliseconds=1)).timestamp()) == period


@given(kinds, moments, moments)
def test_periods_sort_like_time(kind, one, other):
    first, second = sorted((one, other))

    assert periods.current(kind, first) <= periods.current(kind, second)


@pytest.mark.parametrize("text", ["all", "2026-11", "2026-11-23", "2024-02-29", "9999-12"])
def test_a_period_is_known_by_its_name(text: str):
    assert periods.is_period(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ALL",
        "2026",
        "2026-13",
        "2026-00",
        "2026-11-31",
        "2026-02-29",
        "2026-1",
        "0000-01",
        "2026-11-23T",
        "٢٠٢٦-11",
    ],
)
def test_a_text_that_is_not_a_date_is_not_a_period(text: str):
    assert not periods.is_period(text)


def test_an_end_is_shown_as_a_moment_and_all_has_none():
    assert periods.resets_at("2026-11") == "2026-12-01T00:00:00Z"
    assert periods.resets_at("2026-12-31") == "2027-01-01T00:00:00Z"
    assert periods.resets_at("all") is None


@pytest.mark.parametrize("kind", ["day", "month"])
def test_a_moment_as_text_starts_like_its_period(kind):
    assert text(1795400000.1239).startswith(periods.current(kind, 1795400000.1239))
