"""Ledgers behind the proxy, on a DynamoDB whose time a test moves; so the steady clock of each process goes with it.
And a server whose every byte a test decides, for the HTTP client.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gptdock.ledger import clock as dynamodb_time
from gptdock.ledger.holds import Ledger
from gptdock.ledger.store import Store
from tests.harness.hostile import raw_upstream
from tests.harness.http_peer import Accepted, Peer
from tests.harness.ledgers import Clock, Start, learn
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.proxy import Proxy, proxied
from tests.harness.service import NOBODY, make_settings


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def proxy(dynamodb: str, clock: Clock) -> AsyncIterator[Proxy]:
    async with proxied(dynamodb, clock) as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: Proxy, store: Store, clock: Clock) -> AsyncIterator[Store]:
    async with Store.connected(make_settings(proxy.url, NOBODY), dynamodb_time.Clock(steady=clock)) as behind:
        yield behind


@pytest.fixture
def start(behind: Store, proxy: Proxy, clock: Clock) -> Start:
    """Starts a ledger behind the proxy that knows its model: a will allows for 200 tokens a second.

    Without `settled` it is left as a process that was killed leaves it. With a `machine` it runs on one that has this
    clock.
    """

    @asynccontextmanager
    async def start(
        *, settled: bool = True, store: Store = behind, machine: Callable[[], float] | None = None, **changes: object
    ) -> AsyncIterator[Ledger]:
        settings = make_settings(proxy.url, NOBODY, default_token_quota=1000, **changes)
        async with AsyncExitStack() as stack:
            if machine:
                learned = dynamodb_time.Clock(machine, steady=clock)
                store = await stack.enter_async_context(Store.connected(settings, learned))
            await store.ping()  # as a process does at its start
            ledger = await stack.enter_async_context(Ledger(store, settings).running())
            learn(ledger, 200)
            yield ledger
            if settled:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await ledger.settled()

    return start


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    accepted: asyncio.Queue[Accepted] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(Accepted(reader, writer))

    async with raw_upstream(serve) as url:
        peer = Peer(url, accepted)
        yield peer
        await peer.client.close()
        for task in peer.tasks:
            task.cancel()
        await asyncio.gather(*peer.tasks, return_exceptions=True)
