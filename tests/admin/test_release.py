"""An operator ends the lease of a process that died, but never one whose process lives."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from gptdock.admin.release import ALIVE, release
from gptdock.errors import LeaseNotReleased
from gptdock.ledger.book import Lease, Write
from gptdock.ledger.holds import Claim, Ledger
from gptdock.ledger.store import Store
from tests.harness.admin import ACCOUNT, NOW, RECEIPT, book_of, charge, check_balance
from tests.harness.ledgers import at, learn
from tests.harness.service import NOBODY, make_settings, read_receipts

SETTINGS = make_settings("http://127.0.0.1:1", NOBODY, progress_seconds=0.001)
HELD = Lease(held=60, will=25, number=7, expires_at=NOW + 7200)


def ticking(store: Store, seconds: int = 5) -> tuple[Store, Iterator[int]]:
    """The same tables, where so much time goes by with each look at the clock."""
    times = itertools.count(NOW, seconds)
    return at(store, lambda: next(times)), times


async def test_a_dead_process_is_released_by_its_will_with_a_receipt(store: Store):
    await charge(store, "all", RECEIPT, lease=HELD)
    ahead, times = ticking(store)

    await release(ahead, SETTINGS, ACCOUNT, "b", "cli:anna")

    book = await book_of(store)
    assert (book.left, book.held, book.used) == (100 - 12 - 25, 0, 12 + 25)
    [lost] = [receipt for receipt in await read_receipts(store, ACCOUNT) if receipt["source"] == "lost"]
    assert (lost["user"], lost["process"], lost["tokens"]) == ("cli:anna", "b", 25)
    assert next(times) > NOW + 70
    await check_balance(store)


async def test_a_process_that_was_released_and_lives_revives_its_lease(store: Store):
    """It was stopped for longer than it was watched."""
    settings = make_settings("http://127.0.0.1:1", NOBODY, progress_seconds=20)
    async with Ledger(at(store, lambda: NOW), settings).running() as ledger:
        learn(ledger, 200, "m")  # then no renewal is due in the first seconds
        async with ledger.hold(Claim(ACCOUNT, "u", "m", "r", 2, 90)):
            await release(ticking(store)[0], SETTINGS, ACCOUNT, ledger.process, "cli:anna")
            assert (await book_of(store)).held == 0
        await ledger.settled()

    book = await book_of(store)
    assert (book.held, book.used) == (0, 0)


async def test_a_process_that_lives_is_not_released(store: Store):
    settings = make_settings("http://127.0.0.1:1", NOBODY, progress_seconds=0.02)
    async with Ledger(store, settings).running() as ledger:
        async with ledger.hold(Claim(ACCOUNT, "u", "m", "r", 2, 90)):
            with pytest.raises(LeaseNotReleased, match=ALIVE):
                async with asyncio.timeout(30):
                    await release(store, settings, ACCOUNT, ledger.process, "cli:anna")

            assert (await book_of(store)).held == 100
        await ledger.settled()


async def test_a_lease_that_is_renewed_at_the_last_moment_stays(store: Store, monkeypatch: pytest.MonkeyPatch):
    await charge(store, "all", lease=HELD)
    ahead, send = ticking(store)[0], store.send
    renewal = Write("b", HELD.number, HELD._replace(number=8))

    async def renewed_before(*write):
        await send(ACCOUNT, "all", renewal)
        return await send(*write)

    monkeypatch.setattr(ahead, "send", renewed_before)
    with pytest.raises(LeaseNotReleased, match=ALIVE):
        await release(ahead, SETTINGS, ACCOUNT, "b", "cli:anna")

    assert (await book_of(store)).held == 60


@pytest.mark.parametrize("lease", [None, HELD._replace(held=0, will=0), HELD._replace(held=0, number=-7)])
async def test_a_process_that_holds_nothing_is_not_released(store: Store, lease: Lease | None):
    await charge(store, "all", lease=lease)

    with pytest.raises(LeaseNotReleased, match="holds no tokens"):
        await release(store, SETTINGS, ACCOUNT, "b", "cli:anna")
