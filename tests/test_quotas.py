"""What answers and errors tell of a quota."""

from datetime import UTC, datetime

import pytest

from gptdock import quotas
from gptdock.quotas import Quota

END = datetime(2026, 12, 1, tzinfo=UTC)


def test_a_quota_is_told_under_both_names():
    assert Quota(1000, 300, 50, END).headers(END.timestamp() - 360) == {
        "X-Quota-Max": "1000",
        "X-Quota-Left": "300",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "300",
        "x-ratelimit-reset-tokens": "6m0s",
    }


def test_a_quota_without_a_period_has_no_reset():
    assert "x-ratelimit-reset-tokens" not in Quota(1000, 300, 50).headers(0)


def test_what_remains_is_never_below_0_for_clients_of_openai():
    told = Quota(10, -90, 0).headers(0)

    assert (told["X-Quota-Left"], told["x-ratelimit-remaining-tokens"]) == ("-90", "0")


def test_a_quota_in_an_error_says_when_it_resets():
    assert Quota(9, 7, 2, END).to_json() == {"quota_left": 7, "quota_held": 2, "resets_at": "2026-12-01T00:00:00Z"}
    assert Quota(9, 7, 2).to_json()["resets_at"] is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0, "0s"), (0.2, "1s"), (59, "59s"), (60, "1m0s"), (3600, "1h0m0s"), (2_591_999, "719h59m59s")],
)
def test_a_duration_is_written_as_openai_does(seconds: float, text: str):
    assert quotas.duration(seconds) == text
