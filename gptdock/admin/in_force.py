"""The QUOTA_PERIOD in force: each serving process writes down by which it goes, and commands compare theirs with it.

With another one a command would work on other books than the processes do, and say nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gptdock.errors import LedgerUnavailable, SettingsError
from gptdock.ledger.backoff import Backoff
from gptdock.ledger.periods import Kind
from gptdock.ledger.store import Store

log = logging.getLogger(__name__)


@asynccontextmanager
async def announced(store: Store, kind: Kind) -> AsyncIterator[None]:
    """Write it down before the block, or within it, as soon as DynamoDB answers."""
    try:
        await _announce(store, kind)
    except LedgerUnavailable:
        task = asyncio.create_task(_persist(store, kind), name="in force")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    else:
        yield


async def check(store: Store, kind: Kind) -> None:
    """Raise SettingsError if the processes that serve go by another. Raises LedgerUnavailable."""
    in_force = await store.period_in_force()
    if in_force not in (None, kind):
        raise SettingsError(f"QUOTA_PERIOD is {kind} here, but the processes that serve go by {in_force}")


async def _announce(store: Store, kind: Kind) -> None:
    before = await store.period_in_force()
    if before == kind:
        return
    await store.put_in_force(kind)
    if before is not None:
        log.warning("QUOTA_PERIOD is another than before", extra={"before": before, "now": kind})


async def _persist(store: Store, kind: Kind) -> None:
    backoff = Backoff()
    while True:
        try:
            return await _announce(store, kind)
        except LedgerUnavailable:
            await backoff.pause()
