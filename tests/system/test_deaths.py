"""A real process is killed at each step of a request: what the caller sees, and what the client is charged.

`tests/long/nemesis.py` kills at random moments; here each step is awaited, so that none is missed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import pytest

from gptdock.accounts import Account
from gptdock.admin.audit import Finding, audit
from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.ledger.book import Book
from gptdock.ledger.rates import UNKNOWN_AHEAD
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from tests.harness.ledgers import at
from tests.harness.processes import PATIENCE_SECONDS, Running, environment, serving
from tests.harness.proxy import Fault, Proxy
from tests.harness.service import KEY, QUESTION, read_receipts

ACCOUNT = Account("c1", "p1")
PROGRESS_SECONDS = 0.5
ALLOWANCE = int(PROGRESS_SECONDS * UNKNOWN_AHEAD)  # tokens that a will adds: the process has just started
LEASE_SECONDS = 10
HEADERS = {"Authorization": f"Bearer {KEY}"}
BROKEN = (aiohttp.ClientError, ConnectionError)

both_ways = pytest.mark.parametrize("stream", [True, False])


@pytest.fixture
async def process(tmp_path, proxy: Proxy, store: Store, openai: SimulatedOpenAI) -> AsyncIterator[Running]:
    """A process behind the proxy; the usual client has a book."""
    await store.open_book(ACCOUNT, "all", 500_000, "now")
    env = environment(proxy.url, openai.url, PROGRESS_SECONDS=str(PROGRESS_SECONDS), LEASE_SECONDS=str(LEASE_SECONDS))
    async with serving(tmp_path, env) as running:
        yield running


@pytest.mark.parametrize(("fault", "held"), [("hole", False), ("mute", True)])
async def test_a_process_killed_at_the_hold_charges_only_what_was_held(
    process: Running, proxy: Proxy, store: Store, openai: SimulatedOpenAI, fault: Fault, held: bool
):
    proxy.strike(fault)

    async with _asking(process):
        await (_until(store, lambda book: book.held) if held else _struck(proxy))
        process.process.kill()

    assert openai.requests == 0
    finding = await _end(store)
    # If the hold is in the book, nothing shows that the upstream was not asked.
    assert (finding.book.used > 0) == held
    assert finding.book.used <= ALLOWANCE + 100  # the prompt has fewer than 100 tokens


@both_ways
async def test_a_process_killed_before_the_upstream_answers_charges_the_prompt(
    process: Running, store: Store, openai: SimulatedOpenAI, stream: bool
):
    openai.script = Script(stall_at=BEFORE_HEAD)

    async with _asking(process, stream=stream):
        record = await openai.journal.arrived()
        process.process.kill()

    finding = await _end(store)
    assert record.prompt_tokens <= finding.book.used <= record.prompt_tokens + 8 + 1000


async def test_a_process_killed_in_a_stream_charges_what_was_generated(
    process: Running, store: Store, openai: SimulatedOpenAI
):
    openai.script = Script(tokens=40, stall_at=20)

    async with _opened(process) as response:
        await openai.journal.sent(20)
        await response.content.readuntil(b"\n\n")
        process.process.kill()
        with pytest.raises(BROKEN):
            await response.read()

    finding = await _end(store)
    assert openai.journal[0].spent <= finding.book.used <= openai.journal[0].spent + ALLOWANCE
    await openai.journal.left()  # the upstream's connection is closed, too


async def test_a_process_killed_before_the_settle_charges_what_was_generated(
    process: Running, proxy: Proxy, store: Store, openai: SimulatedOpenAI
):
    openai.script = Script(tokens=40, hold_at=20)

    async with _opened(process) as response:
        await openai.journal.sent(20)
        proxy.always = "hole"
        openai.release()
        assert (await response.read()).endswith(b"data: [DONE]\n\n")
        await _struck(proxy)
        process.process.kill()

    finding = await _end(store)
    assert openai.journal[0].spent <= finding.book.used <= openai.journal[0].spent + ALLOWANCE


async def test_a_process_killed_before_its_settle_is_answered_charges_exactly(
    process: Running, proxy: Proxy, store: Store, openai: SimulatedOpenAI
):
    openai.script = Script(tokens=40, hold_at=20)

    async with _opened(process) as response:
        await openai.journal.sent(20)
        proxy.strike("mute")
        openai.release()
        await response.read()
        await _until(store, lambda book: book.used)
        process.process.kill()

    assert (await _end(store)).book.used == openai.journal[0].spent


@both_ways
async def test_a_process_killed_between_settle_and_receipt_charges_exactly(
    process: Running, proxy: Proxy, store: Store, openai: SimulatedOpenAI, stream: bool
):
    proxy.strike("hole", operation="BatchWriteItem")

    async with _opened(process, stream=stream) as response:
        await response.read()
    await _struck(proxy)
    process.process.kill()

    assert response.status == 200
    assert await read_receipts(store, ACCOUNT) == []
    assert (await _end(store)).book.used == openai.journal[0].spent


@asynccontextmanager
async def _opened(process: Running, stream: bool = True) -> AsyncIterator[aiohttp.ClientResponse]:
    asked = QUESTION | {"stream": stream}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{process.url}/v1/ask", json=asked, headers=HEADERS) as response,
    ):
        yield response


@asynccontextmanager
async def _asking(process: Running, stream: bool = True) -> AsyncIterator[None]:
    """A caller asks while the context is open; at the end its connection must break without an answer."""

    async def ask() -> None:
        async with _opened(process, stream):
            pass

    asking = asyncio.create_task(ask())
    yield
    with pytest.raises(BROKEN):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asking


async def _struck(proxy: Proxy) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await proxy.struck.wait()


async def _until(store: Store, happened: Callable[[Book], int]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not ((book := await store.read(ACCOUNT, "all")) and happened(book)):
            continue


async def _end(store: Store) -> Finding:
    """Audit with a clock ahead, so that all leases are swept and then removed; fails unless the book then balances."""
    for later in (LEASE_SECONDS + 20, 2 * 3600):
        ahead = at(store, partial(float, time.time() + later))
        [finding] = [finding async for finding in audit(ahead, Sweeper(ahead, "auditor", grace=10, retain=3600))]
    book, receipts = finding.book, await read_receipts(store, ACCOUNT)
    assert finding.balances
    assert (dict(book.leases), book.held, book.left) == ({}, 0, book.max - book.used)
    assert sum(receipt["tokens"] for receipt in receipts) == book.used
    return finding
