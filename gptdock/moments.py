"""Pure: a moment as text, in UTC."""

from datetime import UTC, datetime
from functools import lru_cache

_ENDS = tuple(f".{milliseconds:03d}Z" for milliseconds in range(1000))  # to format one takes as long as all the rest


def text(now: float) -> str:
    """Unix seconds as `2026-11-23T05:05:45.000Z`, which sorts as text and starts like its period."""
    seconds, milliseconds = divmod(int(now * 1000), 1000)
    return _second(seconds) + _ENDS[milliseconds]


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
