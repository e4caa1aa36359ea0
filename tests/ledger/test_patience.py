"""Deadlines of which a turn of the event loop takes one step at most."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from urllib.parse import urlsplit

import pytest

from gptdock.errors import LedgerUnavailable
from gptdock.ledger import http_client, patience
from gptdock.ledger.store import Store
from tests.harness.hostile import raw_upstream
from tests.harness.ledgers import Start, spend
from tests.harness.service import NOBODY, make_settings

SECONDS = 0.4  # moto answers sooner


@pytest.fixture
async def halting(dynamodb: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The URL of a proxy before `dynamodb`. With the event set, the loop stands still once an answer is in its socket,
    for SECONDS.
    """
    halts = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, onward = await asyncio.open_connection(urlsplit(dynamodb).hostname, urlsplit(dynamodb).port)
        while data := await reader.read(65_536):
            onward.write(data)
            writer.write(await answers.read(65_536))
            if halts.is_set():
                time.sleep(SECONDS)  # noqa: ASYNC251 - this is the fault
        onward.close()

    async with raw_upstream(serve) as url:
        yield url.removesuffix("/v1"), halts


@pytest.mark.parametrize("steps", [patience.STEPS, 1])
async def test_a_hold_is_not_refused_since_the_loop_stood_still(
    start: Start, halting: tuple[str, asyncio.Event], monkeypatch, steps: int
):
    """In one step it is refused: the request that waits is told a turn later than the timer is due."""
    url, halts = halting
    async with Store.connected(make_settings(url, NOBODY)) as store, start(store=store) as ledger:
        await spend(ledger, 1)
        await ledger.settled()
        with monkeypatch.context() as meanwhile:
            ledger.patience = SECONDS
            meanwhile.setattr(http_client, "READ_SECONDS", SECONDS)
            meanwhile.setattr(patience, "STEPS", steps)
            halts.set()
            refused = await is_refused(spend(ledger, 1))
            halts.clear()

    assert refused == (steps == 1)


async def is_refused(request: Awaitable[object]) -> bool:
    try:
        await request
    except LedgerUnavailable:
        return True
    return False


@pytest.mark.parametrize("steps", [patience.STEPS, 1])
async def test_a_limit_is_not_over_a_turn_after_the_loop_stood_still(monkeypatch, steps: int):
    monkeypatch.setattr(patience, "STEPS", steps)
    is_over = False
    try:
        async with patience.limit(0.05):
            time.sleep(0.1)  # noqa: ASYNC251 - this is the fault
            for _ in range(3):
                await asyncio.sleep(0)
    except TimeoutError:
        is_over = True

    assert is_over == (steps == 1)


async def test_a_limit_ends_what_takes_longer():
    with pytest.raises(TimeoutError):
        async with patience.limit(0.05):
            await asyncio.Event().wait()
