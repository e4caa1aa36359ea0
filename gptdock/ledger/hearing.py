"""Waits until DynamoDB has told its time once: periods begin by it, so before that no period is known.

A process learns it at its start, unless DynamoDB cannot be reached then.
"""

import asyncio
from contextlib import suppress

from gptdock.errors import LedgerUnavailable
from gptdock.ledger.backoff import Backoff
from gptdock.ledger.store import Store


class Hearing:
    """Asks DynamoDB, one call at a time, as long as somebody waits."""

    def __init__(self, store: Store) -> None:
        self._store, self._one_asks = store, asyncio.Lock()

    async def wait(self, most_seconds: float) -> float:
        """Return once the time is known, with the seconds that took. Raises LedgerUnavailable after `most_seconds`."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(most_seconds), self._one_asks:
                await self._ask()
        except TimeoutError as exc:
            raise LedgerUnavailable from exc
        return asyncio.get_running_loop().time() - began

    async def _ask(self) -> None:
        backoff = Backoff()
        while not self._store.clock.told:
            with suppress(LedgerUnavailable):
                await self._store.ping()
                return
            await backoff.pause()
