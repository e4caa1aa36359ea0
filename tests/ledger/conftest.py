"""Ledgers behind the proxy, on a clock that a test moves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gptdock.ledger.holds import Ledger
from gptdock.ledger.store import Store
from tests.harness.ledgers import Clock, Start, learn
from tests.harness.service import NOBODY, make_settings


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(behind: Store, clock: Clock) -> Start:
    """Starts a ledger behind the proxy that knows its model: a will allows for 200 tokens a second.

    Without `settled` it is left as a process that was killed leaves it.
    """

    @asynccontextmanager
    async def start(
        *, settled: bool = True, store: Store = behind, clock: Clock = clock, **changes: object
    ) -> AsyncIterator[Ledger]:
        settings = make_settings("http://127.0.0.1:1", NOBODY, default_token_quota=1000, **changes)
        async with Ledger(store, settings, clock).running() as ledger:
            learn(ledger, 200)
            yield ledger
            if settled:
                async with asyncio.timeout(10):
                    await ledger.settled()

    return start
