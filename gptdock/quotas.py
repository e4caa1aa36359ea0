"""Pure: a client's quota at one moment, as answers and errors tell it: in headers, and in the error object."""

import math
from datetime import datetime
from typing import NamedTuple


class Quota(NamedTuple):
    """The quota of a period, in tokens. `ends_at` is when the period ends; None: never."""

    max: int
    left: int
    held: int
    ends_at: datetime | None = None

    def given_back(self, tokens: int) -> "Quota":
        """The same without a hold of so many tokens."""
        return self._replace(left=self.left + tokens, held=self.held - tokens)

    def headers(self, now: float) -> dict[str, str]:
        """The headers in which OpenAI's clients, and GPTDock's own, look for it."""
        most = str(self.max)
        told = {"X-Quota-Max": most, "X-Quota-Left": str(self.left), "x-ratelimit-limit-tokens": most}
        told["x-ratelimit-remaining-tokens"] = str(max(0, self.left))  # below 0 after an operator lowered the quota
        if self.ends_at:
            told["x-ratelimit-reset-tokens"] = duration(self.ends_at.timestamp() - now)
        return told

    def to_json(self) -> dict[str, int | str | None]:
        """The fields of an error object, named as in `/v1/client/info`."""
        return {"quota_left": self.left, "quota_held": self.held, "resets_at": iso(self.ends_at)}


def iso(moment: datetime | None) -> str | None:
    """A moment as the API shows it: `2026-12-01T00:00:00Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def duration(seconds: float) -> str:
    """Seconds, rounded up, as OpenAI writes them: `59s`, `6m0s` or `719h59m59s`."""
    minutes, rest = divmod(max(0, math.ceil(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
