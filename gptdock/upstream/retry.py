"""Pure: whether and when to try the upstream again, decided from what it answered.

At most two retries, from half a second doubling with full jitter, and a budget for the whole process, so that a lasting
failure of the upstream adds about a tenth to its load and no more (DESIGN 4).
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
MOST_RETRIES = 2
FIRST_SECONDS = 0.5
MOST_RETRY_AFTER_SECONDS = 5.0


class Budget:
    """A retry takes one token of 50, a first try gives a tenth back."""

    def __init__(self, tokens: float = 50.0) -> None:
        self._most = self._tokens = tokens

    def first_try(self) -> None:
        """A request comes to the upstream for the first time."""
        self._tokens = min(self._most, self._tokens + 0.1)

    def take(self) -> bool:
        """Whether a retry is in the budget; if so, it is taken out."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def is_wanted(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer with this status is worth another try; the upstream's own word on it counts most."""
    told = headers.get("x-should-retry", "").lower()
    return told == "true" or (told != "false" and status in RETRIED_STATUSES)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that `Retry-After` asks to wait, as a number or a date; None if it is absent or makes no sense."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def pause(retries: int, asked: float | None, jitter: Callable[[], float]) -> float | None:
    """Seconds to wait before the next retry; None to give up: too many, or the upstream asks for too long a wait."""
    if retries >= MOST_RETRIES or (asked or 0) > MOST_RETRY_AFTER_SECONDS:
        return None
    return asked if asked is not None else FIRST_SECONDS * 2**retries * jitter()
