"""An operator resets a period: the used tokens are given back once."""

import asyncio
import logging

from gptdock.ledger.book import Lease
from gptdock.ledger.store import Store
from tests.harness.admin import ACCOUNT, ANNA, NOW, RECEIPT, book_of, charge, check_balance, operate
from tests.harness.service import read_receipts


async def test_a_reset_restarts_the_running_period_and_is_logged(store: Store, caplog):
    caplog.set_level(logging.INFO)
    october = RECEIPT._replace(key="2026-10-23T02:13:19.000Z#r#p.1", tokens=20)
    await charge(store, "2026-10", october)
    await charge(store, "2026-11", RECEIPT, lease=Lease(50, 30, 1, NOW))

    overview = await operate(store, quota_period="month").reset(ACCOUNT, ANNA)

    numbers = [(period, book.used, book.held, book.left) for period, book in overview.books]
    assert numbers == [("2026-11", 0, 50, 50), ("2026-10", 20, 0, 80)]
    *_, receipt = await read_receipts(store, ACCOUNT)
    shown = [receipt[name] for name in ("tokens", "user", "source", "period")]
    assert shown == [-12, "cli:anna", "reset", "2026-11"]
    [record] = [record for record in caplog.records if record.getMessage() == "quota reset"]
    assert vars(record).items() >= {"client": "c1", "operator": "cli:anna", "used": 12}.items()
    await check_balance(store)


async def test_a_reset_charges_lost_processes_first(store: Store):
    """Otherwise their wills would be charged after the reset."""
    await charge(store, "all", RECEIPT, lease=Lease(50, 30, 1, NOW - 11))

    await operate(store).reset(ACCOUNT, ANNA)

    book = await book_of(store)
    assert (book.used, book.held, book.left) == (0, 0, 100)
    await check_balance(store)


async def test_resets_that_race_give_back_once(store: Store):
    await charge(store, "all", RECEIPT)

    await asyncio.gather(*(operate(store).reset(ACCOUNT, ANNA) for _ in range(5)))

    book = await book_of(store)
    assert (book.used, book.left) == (0, 100)
    assert sum(receipt["tokens"] for receipt in await read_receipts(store, ACCOUNT)) == 0


async def test_a_reset_of_a_period_without_a_book_changes_nothing(store: Store):
    await store.open_book(ACCOUNT, "2026-10", 100, "now")

    overview = await operate(store, quota_period="month").reset(ACCOUNT, ANNA)

    assert [period for period, _ in overview.books] == ["2026-10"]
    assert await read_receipts(store, ACCOUNT) == []
