"""Pure: the period that a moment belongs to, and the end of a period, in UTC."""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal

from gptdock import quotas

Kind = Literal["none", "day", "month"]


def current(kind: Kind, now: float) -> str:
    """The period that `now`, in Unix seconds, belongs to: `all`, `2026-11` or `2026-11-23`."""
    return "all" if kind == "none" else _of_minute(kind, int(now // 60))


@lru_cache(maxsize=4)
def _of_minute(kind: Kind, minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%d" if kind == "day" else "%Y-%m")


@lru_cache(maxsize=8)
def end(period: str) -> datetime | None:
    """The moment at which `period` is over and the next one starts; None for `all`, which never ends."""
    if period == "all":
        return None
    year, month, *day = map(int, period.split("-"))
    if day:
        return datetime(year, month, day[0], tzinfo=UTC) + timedelta(days=1)
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def resets_at(period: str) -> str | None:
    """The end as the API shows it: `2026-12-01T00:00:00Z`."""
    return quotas.iso(end(period))


def is_period(text: str) -> bool:
    """Whether `text` names a period: `all`, a month or a day."""
    if not re.fullmatch("[0-9]{4}-[0-9]{2}(-[0-9]{2})?", text):
        return text == "all"
    try:
        date.fromisoformat(text if len(text) > len("2026-11") else f"{text}-01")
    except ValueError:
        return False
    return True
