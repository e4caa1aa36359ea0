"""Ends the lease of a process that died, by its will, where DynamoDB's time would free its tokens only much later.

Nobody can see whether a process is dead. But one that lives and holds tokens commits every PROGRESS_SECONDS. So its
lease is watched for as long as any process is given before it counts as dead: LEASE_SECONDS + LEASE_GRACE_SECONDS of
DynamoDB's time. If it changed, the lease stays. Otherwise it is swept as it was seen, like any lease that expired: a
process that comes back after all revives it. So there is nothing to force, and nothing that a mistake could break.
"""

import asyncio
from collections.abc import AsyncIterator

from gptdock.accounts import Account
from gptdock.errors import LeaseNotReleased
from gptdock.ledger.book import Book
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from gptdock.settings import Settings

ALIVE = "This process lives: its lease has changed while it was watched."


async def release(store: Store, settings: Settings, account: Account, process: str, operator: str) -> None:
    """End what this process holds of the client's books, in the operator's name, after it was silent for long enough.

    Raises LeaseNotReleased: it holds nothing, or it lives. Raises LedgerUnavailable.
    """
    sweeper = Sweeper.of(store, None, settings)
    found = [seen async for seen in _held(store, account, process)]
    if not found:
        raise LeaseNotReleased("This process holds no tokens of this client.")
    for period, book in found:
        await _watch(store, settings, account, period, process, book)
        if not await sweeper.release(account, period, process, book, operator):
            raise LeaseNotReleased(ALIVE)


async def _held(store: Store, account: Account, process: str) -> AsyncIterator[tuple[str, Book]]:
    async for whose, period, book in store.books(account.client_id):
        if whose == account and (lease := book.leases.get(process)) and lease.held:
            yield period, book


async def _watch(store: Store, settings: Settings, account: Account, period: str, process: str, book: Book) -> None:
    """Return once the lease is still as in this book after that time."""
    lease, now = book.leases[process], book
    until = book.seen_at + settings.lease_seconds + settings.lease_grace_seconds
    while now.seen_at <= until:
        await asyncio.sleep(settings.progress_seconds)
        now = await store.read(account, period) or now
        if now.leases.get(process) != lease:
            raise LeaseNotReleased(ALIVE)
