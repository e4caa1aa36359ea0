"""Which period a moment belongs to, and when a period ends; all in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Literal

Kind = Literal["none", "day", "month"]


def current(kind: Kind, now: float) -> str:
    """The period that `now`, in epoch seconds, belongs to: `all`, `2026-11` or `2026-11-23`."""
    formats = {"none": "all", "day": "%Y-%m-%d", "month": "%Y-%m"}
    return datetime.fromtimestamp(now, UTC).strftime(formats[kind])


def end(period: str) -> datetime | None:
    """The moment at which `period` is over and the next one starts; None for `all`, which never ends."""
    if period == "all":
        return None
    year, month, *day = map(int, period.split("-"))
    if day:
        return datetime(year, month, day[0], tzinfo=UTC) + timedelta(days=1)
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
