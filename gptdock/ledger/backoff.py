"""Waits that grow after each failure, with full jitter, and never exceed two seconds: a stop has 10 s for settles."""

import asyncio
import random

FIRST_SECONDS = 0.05
MOST_SECONDS = 2.0


class Backoff:
    """The waits after several failures in a row."""

    def __init__(self) -> None:
        self._ceiling = FIRST_SECONDS

    async def pause(self) -> None:
        """Wait for a random part of a time that doubles with each call."""
        await asyncio.sleep(random.uniform(0, self._ceiling))  # noqa: S311 - no secret
        self._ceiling = min(2 * self._ceiling, MOST_SECONDS)

    def reset(self) -> None:
        self._ceiling = FIRST_SECONDS
