"""An operator credits a client, or lets its quota follow the default."""

import asyncio

import pytest

from gptdock.admin.changes import Credit
from gptdock.errors import ClientNotFound, InvalidRequest
from gptdock.ledger import verbs
from gptdock.ledger.book import Lease
from gptdock.ledger.store import Store
from tests.harness.admin import ACCOUNT, ANNA, NOW, RECEIPT, book_of, charge, check_balance, operate
from tests.harness.proxy import Proxy
from tests.harness.service import read_receipts

CREDIT = Credit(30, "the outage of Monday", "ticket-1")


async def test_a_credit_raises_the_maximum_and_leaves_what_was_used(store: Store):
    await charge(store, "2026-11", RECEIPT, lease=Lease(50, 30, 1, NOW))
    month = operate(store, quota_period="month")

    await month.credit(ACCOUNT, CREDIT, ANNA)

    book = await book_of(store, "2026-11")
    assert (book.max, book.used, book.held, book.left) == (130, 12, 50, 68)
    assert await store.read_max(ACCOUNT) == 100, "the next period begins with the client's own quota"
    *_, receipt = await read_receipts(store, ACCOUNT)
    shown = [receipt[name] for name in ("tokens", "user", "source", "outcome", "period")]
    assert shown == [0, "cli:anna", "credit", "+30: the outage of Monday", "2026-11"]
    await check_balance(store)


async def test_credits_with_one_id_that_race_are_applied_once(store: Store):
    await charge(store, "all", RECEIPT)

    await asyncio.gather(*(operate(store).credit(ACCOUNT, CREDIT, ANNA) for _ in range(5)))
    await operate(store).credit(ACCOUNT, CREDIT._replace(id="ticket-2"), ANNA)

    assert (await book_of(store)).max == 160
    assert [each["source"] for each in await read_receipts(store, ACCOUNT)].count("credit") == 2
    await check_balance(store)


@pytest.mark.parametrize("fault", ["lose", "throttle", "late"])
async def test_a_credit_whose_answer_is_lost_is_applied_once(store: Store, behind: Store, proxy: Proxy, fault):
    await charge(store, "all", RECEIPT)
    proxy.strike(fault, operation="TransactWriteItems")

    await operate(behind).credit(ACCOUNT, CREDIT, ANNA)
    await proxy.release()

    assert (await book_of(store)).max == 130
    await check_balance(store)


async def test_the_id_of_a_credit_is_refused_for_another_number_of_tokens(store: Store):
    await charge(store, "all")
    await operate(store).credit(ACCOUNT, CREDIT, ANNA)

    with pytest.raises(InvalidRequest) as raised:
        await operate(store).credit(ACCOUNT, CREDIT._replace(tokens=31), ANNA)

    assert (raised.value.param, (await book_of(store)).max) == ("id", 130)


async def test_a_credit_opens_the_running_period_with_the_standing_quota(store: Store):
    await charge(store, "2026-10")

    await operate(store, quota_period="month").credit(ACCOUNT, CREDIT, ANNA)

    assert [(await book_of(store, period)).max for period in ("2026-10", "2026-11")] == [100, 130]


async def test_an_unknown_client_gets_neither_credit_nor_default_nor_an_existing_quota(store: Store):
    clients = operate(store)

    for change in (
        clients.credit(ACCOUNT, CREDIT, ANNA),
        clients.set_default(ACCOUNT, ANNA),
        clients.set_quota(ACCOUNT, 5, ANNA, existing=True),
    ):
        with pytest.raises(ClientNotFound):
            await change

    assert await store.read_max(ACCOUNT) is None


async def test_a_client_at_the_default_follows_it_until_its_quota_is_set(store: Store):
    await charge(store, "2026-10")
    await operate(store, quota_period="month", default_token_quota=70).set_default(ACCOUNT, ANNA)
    followed = await store.client(ACCOUNT)

    await store.open_book(ACCOUNT, "2026-12", 80, "now")
    first = await store.read_max(ACCOUNT, 90)
    await operate(store, quota_period="month").set_quota(ACCOUNT, 60, ANNA)
    await store.open_book(ACCOUNT, "2027-01", 90, "now")

    assert followed
    assert (followed.follows_default, followed.max_quota, first) == (True, 70, 90)
    assert [(await book_of(store, period)).max for period in ("2026-11", "2026-12", "2027-01")] == [60, 80, 60]
    outcomes = {each["outcome"] for each in await read_receipts(store, ACCOUNT)}
    assert outcomes == {"100 -> 70 (default)", "70 -> 60"}


async def test_a_book_is_not_created_from_a_default_that_is_no_longer_followed(
    store: Store, behind: Store, proxy: Proxy
):
    await charge(store, "2026-11")
    await operate(store, quota_period="month", default_token_quota=70).set_default(ACCOUNT, ANNA)
    proxy.strike("late", operation="TransactWriteItems")
    opening = asyncio.create_task(behind.open_book(ACCOUNT, "2026-12", 70, "now"))
    await proxy.struck.wait()

    change = verbs.set_max(70, 70, RECEIPT._replace(key="2026-11-23T02:13:21.000Z#x"))
    assert await store.change(ACCOUNT, "2026-11", change)
    await asyncio.gather(opening, return_exceptions=True)

    assert await proxy.release() == [400]
    assert await store.read(ACCOUNT, "2026-12") is None
