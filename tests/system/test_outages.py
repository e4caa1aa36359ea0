"""DynamoDB fails at the hold or at the settle: what callers see, and what the books show."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest

from gptdock.accounts import Account
from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import Script
from gptdock.ledger import verbs
from gptdock.ledger.book import Receipt
from gptdock.ledger.store import Store
from tests.harness.hostile import Fault as Seen
from tests.harness.hostile import check_nothing_is_left, fault_of
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.proxy import Fault, Proxy
from tests.harness.service import Service, make_settings, running, sse_data

ACCOUNT = Account("c1", "p1")
RECEIPT = Receipt("k", 0, 0, 0, "-", "-", "set_quota", "set_quota", "-")

pytestmark = pytest.mark.usefixtures("each_way")

every_fault = pytest.mark.parametrize("fault", [fault for fault in get_args(Fault) if fault != "pass"])
both_ways = pytest.mark.parametrize("stream", [True, False])


@pytest.fixture
async def service(proxy: Proxy, store: Store, openai: SimulatedOpenAI) -> AsyncIterator[Service]:
    """GPTDock behind the proxy; the usual client has a book."""
    await store.open_book(ACCOUNT, "all", 500_000, "now")
    async with running(make_settings(proxy.url, openai.url), openai) as service:
        yield service
        proxy.always = None


@pytest.fixture
async def impatient(service: Service, proxy: Proxy, openai: SimulatedOpenAI) -> AsyncIterator[Service]:
    """Another GPTDock, with RESERVE_TIMEOUT=1."""
    async with running(make_settings(proxy.url, openai.url, reserve_timeout=1), openai) as impatient:
        yield impatient
        proxy.always = None


@every_fault
async def test_a_hold_that_fails_is_a_503_and_the_upstream_is_not_asked(
    service: Service, impatient: Service, proxy: Proxy, fault: Fault
):
    proxy.always = fault

    async with asyncio.timeout(PATIENCE_SECONDS), impatient.ask() as response:
        assert await fault_of(response) == Seen(503, "ledger_unavailable")

    assert response.headers["Retry-After"] == "1"
    assert service.openai.requests == 0
    await _recover(proxy)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await impatient.ledger.settled()
    await check_nothing_is_left(service, 0)


@every_fault
async def test_a_stream_whose_settle_fails_is_whole_and_charged_exactly(service: Service, proxy: Proxy, fault: Fault):
    service.openai.script = Script(tokens=20, hold_at=3)
    async with service.ask(stream=True) as response:
        await service.openai.journal.sent(3)
        proxy.struck.clear()
        proxy.always = fault
        service.openai.release()

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert sse_data(await response.read())[-1] == b"[DONE]"
            await proxy.struck.wait()

    await _recover(proxy)
    await check_nothing_is_left(service, service.openai.journal[-1].spent)
    assert [receipt["source"] for receipt in await service.receipts()] == ["upstream"] * 2


@every_fault
async def test_a_first_question_survives_a_fault_while_its_book_is_created(
    proxy: Proxy, openai: SimulatedOpenAI, fault: Fault
):
    async with running(make_settings(proxy.url, openai.url), openai) as service:
        proxy.strike(fault, operation="TransactWriteItems")

        assert await _status(service) == 200

        await _recover(proxy)
        await check_nothing_is_left(service, openai.journal[0].spent)


@both_ways
async def test_a_caller_that_leaves_during_the_hold_is_not_charged(service: Service, proxy: Proxy, stream: bool):
    proxy.strike("mute")
    asking = asyncio.create_task(_status(service, stream=stream))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await proxy.struck.wait()

    asking.cancel()
    await asyncio.wait([asking])

    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        await service.ledger.settled()
    assert service.openai.requests == 0
    await check_nothing_is_left(service, 0)


async def test_a_quota_lowered_below_what_is_held_refuses_until_it_fits(service: Service, store: Store):
    service.openai.script = Script(hold_at=3)
    async with service.ask(stream=True) as response:
        await service.openai.journal.sent(3)
        assert await store.change(ACCOUNT, "all", verbs.set_max(500_000, 200, RECEIPT))

        assert await _status(service) == 429
        book = await store.read(ACCOUNT, "all")
        assert book
        assert book.left == 200 - book.held < 0
        service.openai.release()
        await response.read()

    spent = service.openai.journal[0].spent
    assert ((await service.info())["max_quota"], spent < 200 - 16) == (200, True)
    await check_nothing_is_left(service, spent)  # 200 - spent is enough for one short answer and no more
    assert await _status(service) == 402
    assert await store.change(ACCOUNT, "all", verbs.set_max(200, 400, RECEIPT._replace(key="raised")))
    assert await _status(service) == 200


async def _status(service: Service, **fields: Any) -> int:
    async with service.ask(**fields) as response:
        await response.read()
        return response.status


async def _recover(proxy: Proxy) -> None:
    """Stop the fault, and apply late calls."""
    proxy.always = None
    await proxy.release()
