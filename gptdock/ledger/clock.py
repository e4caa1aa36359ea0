"""DynamoDB's time, which all processes share: leases are written and judged by it, and periods begin by it.

Each answer of DynamoDB has a header `Date`: whole seconds, rounded down. So its time was at least `Date` when the
answer came, and less than `Date` + 1 s when it was asked. These are two bounds of the difference between DynamoDB's
time and a steady clock of this machine, which nobody sets. An answer that was slow, or is read late or out of order,
has wider bounds, not wrong ones. What is known is what the bounds of all answers have in common; it widens by DRIFT.

A `Date` that is more than AGREE_SECONDS outside of what is known is believed if the next answer confirms it: either one
server of DynamoDB was wrong, or this machine was suspended and its steady clock with it. Until then the clock is not
`sure`. If the next answer confirms neither, both are dropped. An answer without a `Date` that can be read tells
nothing; while no answer ever had one, the machine's clock must do.

The limit of this: two answers in a row of one wrong server confirm each other, and the first answer of all is believed
as it is. If that server is ahead by more than a lease lasts, leases of living processes are swept meanwhile. These come
back, and are charged what they used, but what their sweep freed may be spent twice. Behind, leases end later. Two
answers in a row of right servers put it right.

Apart from that the machine's clock decides nothing: it is only compared, and a difference is a warning.
"""

import logging
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from math import ceil
from typing import NamedTuple

AGREE_SECONDS = 1.0
DRIFT = 0.001  # seconds a second: twice what the kernel slews a clock by at most
MOST_SKEW_SECONDS = 5.0  # of the machine's clock, without a warning
SINCE_BOOT = partial(time.clock_gettime, time.CLOCK_BOOTTIME)  # which goes on while the machine sleeps

log = logging.getLogger(__name__)


class _Bounds(NamedTuple):
    """DynamoDB's time less the steady clock's, in seconds: at least `low` and less than `high`, as known at `at`."""

    low: float
    high: float
    at: float

    def widened(self, at: float) -> "_Bounds":
        drift = DRIFT * (at - self.at)
        return _Bounds(self.low - drift, self.high + drift, at)

    def tells(self, other: "_Bounds") -> bool:
        """Whether the other is no news; once a second it always is, since these bounds widen."""
        return self.low >= other.low and self.high <= other.high and other.at - self.at < 1

    def agrees(self, other: "_Bounds") -> bool:
        return self.low < other.high + AGREE_SECONDS and other.low < self.high + AGREE_SECONDS

    def narrowed(self, other: "_Bounds") -> "_Bounds":
        low, high = max(self.low, other.low), min(self.high, other.high)
        return _Bounds(low, high, other.at) if low < high else other


class Clock:
    """DynamoDB's time in Unix seconds, learned from its answers; calling it gives the likeliest moment.

    `machine` is the clock of this machine, `steady` one that counts seconds from anywhere, and is never set.
    `told`: DynamoDB has answered; before that, this is the machine's clock.
    """

    def __init__(self, machine: Callable[[], float] = time.time, steady: Callable[[], float] | None = None) -> None:
        self.steady = steady or SINCE_BOOT
        self._machine = machine
        self._known: _Bounds | None = None
        self._doubted: _Bounds | None = None
        self.told = False
        self._warned_of = 0.0

    def __call__(self) -> float:
        return self._machine() if self._known is None else self.steady() + (self._known.low + self._known.high) / 2

    @property
    def sure(self) -> bool:
        """Whether a lease may be written by it: DynamoDB has answered, and its last answer is not in doubt."""
        return self.told and self._doubted is None

    @property
    def skew(self) -> float:
        """Seconds that the machine's clock is ahead of DynamoDB's; 0 while that is unknown."""
        return self._machine() - self()

    def latest(self) -> int:
        """A whole second that DynamoDB's time has not passed: what is to last from now, lasts from then."""
        if self._known is None:
            return ceil(self._machine())
        now = self.steady()
        return ceil(now + self._known.high + DRIFT * (now - self._known.at))  # as `widened`

    def learn(self, date: str, sent_at: float) -> int:
        """Learn from an answer with this Date, to what was sent at `sent_at` by the steady clock.

        Returns when DynamoDB gave the answer, in whole seconds: surely not later than it did.
        """
        told, now = _seconds(date), self.steady()
        if told is None:
            return self._without_date(now)
        seen = _Bounds(told - now, told + 1 - sent_at + DRIFT * (now - sent_at), now)
        if self._known and self._known.tells(seen) and not self._doubted:
            return told
        known = self._known.widened(now) if self._known else seen
        if known.agrees(seen):
            self._known, self._doubted, self.told = known.narrowed(seen), None, True
        elif self._doubted and self._doubted.widened(now).agrees(seen):
            self._known, self._doubted = seen, None
        else:
            self._doubted = None if self._doubted else seen
            return min(told, int(now + known.low))
        self._compare()
        return told

    def _without_date(self, now: float) -> int:
        if self._known:
            return int(now + self._known.widened(now).low)
        if not self.told:
            self.told = True
            log.warning("DynamoDB sends no date: leases go by the clock of this machine")
        return int(self._machine())

    def _compare(self) -> None:
        skew = self.skew
        if abs(skew - self._warned_of) > MOST_SKEW_SECONDS:
            is_off = abs(skew) > MOST_SKEW_SECONDS
            self._warned_of = skew if is_off else 0.0
            log.log(
                logging.WARNING if is_off else logging.INFO,
                "the clock of this machine is off" if is_off else "the clock of this machine is right again",
                extra={"skew_seconds": round(skew, 1)},
            )


@lru_cache(maxsize=4)  # a second has many answers
def _seconds(date: str) -> int | None:
    """The Unix time of a Date as RFC 9110 has it; None if it is anything else."""
    if not re.fullmatch("[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT", date):
        return None
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except ValueError:
        return None
