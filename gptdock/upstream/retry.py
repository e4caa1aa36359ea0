"""Pure: whether and when a request to the upstream is retried.

At most two retries, after up to 0.5 and then 1 s (full jitter), or after the `Retry-After` that the upstream asks for.
While the upstream goes on failing, a budget for the whole process keeps retries near a tenth of the load.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})  # 408: also said to a connection that was idle
PASSING_REFUSALS = frozenset({408, 409, 425, 429})
MOST_RETRIES = 2
FIRST_SECONDS = 0.5
MOST_RETRY_AFTER_SECONDS = 5.0
DAY = 86_400.0  # seconds: what is longer, such as a date in another century, would stop a caller who obeys for good
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")


class Budget:
    """Bounds the retries of a process: a retry takes one of 50 tokens, each new request gives back a tenth."""

    def __init__(self, tokens: float = 50.0) -> None:
        self._most = self._tokens = tokens

    def first_attempt(self) -> None:
        """Note that a new request is about to be sent."""
        self._tokens = min(self._most, self._tokens + 0.1)

    def take(self) -> bool:
        """Take a retry out of the budget; false if there is none left."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def is_wanted(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a response with this status is worth a retry; its `x-should-retry` header decides if it has one."""
    told = headers.get("x-should-retry", "").lower()
    return told == "true" or (told != "false" and status in RETRIED_STATUSES)


def may_help(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a caller may ask again: not after a refusal that will not change, nor if `x-should-retry` forbids it."""
    told = headers.get("x-should-retry", "").lower()
    return told == "true" or (told != "false" and (status >= 500 or status in PASSING_REFUSALS))


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the upstream asks to wait, a day at most; None if it does not, or what it says is malformed.

    `retry-after-ms` is read first, as OpenAI's own packages do, then `Retry-After`, a number or a date.
    """
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return min(milliseconds / 1000, DAY)
    text = headers.get("Retry-After", "").strip()
    if (seconds := _number(text)) is not None:
        return min(seconds, DAY)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return min(max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()), DAY)


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def pause(retries: int, asked: float | None, jitter: Callable[[], float]) -> float | None:
    """Seconds to wait before the next retry. None to give up: after MOST_RETRIES, or if `asked` is too long."""
    if retries >= MOST_RETRIES or (asked or 0) > MOST_RETRY_AFTER_SECONDS:
        return None
    return asked if asked is not None else FIRST_SECONDS * 2**retries * jitter()
