"""DynamoDB fails while an operator changes a quota: the change happens once, or is given up and reported."""

import asyncio

import pytest

from gptdock.admin import changes
from gptdock.admin.changes import Operator
from gptdock.errors import LedgerUnavailable
from gptdock.ledger.store import Store
from tests.harness.admin import ACCOUNT, ANNA, RECEIPT, book_of, charge, check_balance, operate
from tests.harness.proxy import Proxy
from tests.harness.service import read_receipts


@pytest.mark.parametrize("fault", ["lose", "throttle", "break"])
async def test_a_change_whose_answer_is_lost_is_applied_once(store: Store, behind: Store, proxy: Proxy, fault):
    await charge(store, "all", RECEIPT)
    proxy.strike(fault, fault, operation="TransactWriteItems")
    await operate(behind).set_quota(ACCOUNT, 40, ANNA)
    proxy.strike(fault, fault, operation="TransactWriteItems")

    await operate(behind).reset(ACCOUNT, ANNA)

    book = await book_of(store)
    assert (book.max, book.left, book.used) == (40, 40, 0)
    sources = [receipt["source"] for receipt in await read_receipts(store, ACCOUNT)]
    assert sorted(sources) == ["reset", "set_quota", "upstream"]
    await check_balance(store)


async def test_a_repeated_change_does_not_undo_a_later_one(store: Store, behind: Store, proxy: Proxy):
    """The first change is applied but its answer is lost; its repetition must not undo the second change."""
    await store.open_book(ACCOUNT, "all", 100, "now")
    proxy.strike("lose", operation="TransactWriteItems")
    ours = asyncio.create_task(operate(behind).set_quota(ACCOUNT, 40, ANNA))
    await proxy.struck.wait()

    await operate(store).set_quota(ACCOUNT, 70, Operator("cli:bert", "r2"))
    await ours

    assert (await book_of(store)).max == await store.read_max(ACCOUNT) == 70


@pytest.mark.parametrize("fault", ["throttle", "break"])
async def test_a_change_that_is_never_answered_is_given_up(behind: Store, proxy: Proxy, fault, monkeypatch):
    monkeypatch.setattr(changes, "PATIENCE_SECONDS", 0.0)
    await behind.open_book(ACCOUNT, "all", 100, "now")
    proxy.strike(fault, operation="TransactWriteItems")

    with pytest.raises(LedgerUnavailable):
        await operate(behind).set_quota(ACCOUNT, 40, ANNA)

    assert (await book_of(behind)).max == 100


@pytest.mark.parametrize("change", ["set_quota", "reset"])
async def test_a_change_that_was_not_sent_is_not_repeated(behind: Store, proxy: Proxy, change: str):
    proxy.always = "break"

    with pytest.raises(LedgerUnavailable):
        await (
            operate(behind).reset(ACCOUNT, ANNA) if change == "reset" else operate(behind).set_quota(ACCOUNT, 40, ANNA)
        )

    assert proxy.calls.total() == 1
