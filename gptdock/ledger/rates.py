"""Pure: how many tokens a second a model generates, learned from the answers that this process saw.

Two questions need it: what to charge for time in which tokens may have been generated unseen, and what the will must
allow for until it is written anew. An upper quantile of the last answers answers both, so that one slow answer does not
make the next process that dies too cheap. Until ENOUGH answers were seen the rate is a guess. Then a will is renewed
sooner while its answer is young, since what is seen of that says more than the guess.

A model that is known is not renewed sooner, but every PROGRESS_SECONDS. In tokens that a stream of 100 a second costs
more than it generated, if its process is killed:

    wills are written at               at its first event    at a moment of 20 s    writes in 3 s, in 20 s
    0, 5, 10, 15 s (as it is)          750                   527                    1, 4
    0, 0.5, 1, 2, 4, 8, 13, 18 s       75                    437                    4, 8
    0, 1.25, 2.5, 5, 10 s              188                   715                    3, 5

Most streams end within seconds and are settled then, so each write while they are young is one more, for a death that
hardly any of them meets. Nor do longer times later pay for it: at as many writes, equal times cost the least.
"""

import math
from bisect import bisect_left, insort
from collections import deque

UNKNOWN = 200.0  # tokens a second of a model of which nothing is known
UNKNOWN_AHEAD = 800.0  # as fast as it may be: a will that is too low charges less than was generated
LEAST, MOST = 10.0, 2000.0
KEPT, ENOUGH = 64, 8  # answers
QUANTILE = 0.9
MARGIN = 1.5  # of a will: an answer is not written evenly, and a renewal takes a moment to reach the book
GUESS_MARGIN = 2.0  # the same, by what was seen of a single answer
TELLING_TOKENS, TELLING_SECONDS = 16, 0.5  # a shorter answer tells little of a rate: the network brings it in one piece
FIRST_RENEWAL_SECONDS = 0.5


class Rate:
    """How fast a model generates. `per_second` is an upper quantile of its last KEPT answers, in tokens a second."""

    def __init__(self) -> None:
        self.per_second = UNKNOWN
        self._last: deque[float] = deque()
        self._sorted: list[float] = []

    @property
    def is_known(self) -> bool:
        """Whether ENOUGH answers were seen."""
        return len(self._last) >= ENOUGH

    def observe(self, tokens: int, seconds: float) -> None:
        """Learn from an answer of so many tokens, generated in so many seconds."""
        rate = min(MOST, max(LEAST, tokens / max(seconds, TELLING_SECONDS)))
        if tokens < TELLING_TOKENS or seconds < TELLING_SECONDS:
            rate = max(rate, UNKNOWN)
        if len(self._last) == KEPT:
            del self._sorted[bisect_left(self._sorted, self._last.popleft())]
        self._last.append(rate)
        insort(self._sorted, rate)
        upper = self._sorted[math.ceil(QUANTILE * len(self._sorted)) - 1]
        self.per_second = upper if self.is_known else max(upper, UNKNOWN)


class Pace:
    """How fast one answer is generated: by what is known of its model, and by what was seen of the answer itself.

    `asked_at` and `now` are times of the event loop, in seconds.
    """

    __slots__ = ("_asked_at", "_seconds", "_seen", "_told", "rate")

    def __init__(self, rate: Rate, asked_at: float) -> None:
        self.rate, self._asked_at = rate, asked_at
        self._seen = self._told = self._seconds = 0.0

    def note(self, tokens: int, seconds: float) -> None:
        """So many tokens of text came within so many seconds since the first."""
        seen = tokens / max(seconds, TELLING_SECONDS)
        self._seen, self._seconds = max(self._seen, seen), seconds
        if tokens >= TELLING_TOKENS and seconds >= TELLING_SECONDS:
            self._told = max(self._told, seen)

    def teach(self) -> None:
        """Let the rate learn from what was noted, if that was enough to tell; a stall makes it no slower."""
        if self._told:
            self.rate.observe(round(self._told * self._seconds), self._seconds)

    def unseen(self, seconds: float) -> int:
        """Tokens that may have been generated in `seconds` of which no text was seen."""
        return math.ceil(seconds * max(self.rate.per_second, self._seen))

    def ahead(self, seconds: float) -> int:
        """Tokens that a will must allow for in the next `seconds`."""
        return math.ceil(seconds * self._ahead())

    def renew_after(self, now: float, most: float) -> float:
        """Seconds until the will, if it is written `now`, must be written anew; at most `most`."""
        return most if self.rate.is_known else min(most, max(now - self._asked_at, FIRST_RENEWAL_SECONDS))

    def _ahead(self) -> float:
        if self.rate.is_known:
            return MARGIN * max(self.rate.per_second, self._seen)
        least = LEAST if self._seconds >= TELLING_SECONDS else UNKNOWN_AHEAD
        return max(least, GUESS_MARGIN * self._seen)
