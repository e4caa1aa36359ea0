"""An operator sets a quota: it applies at once, and each change has one receipt, however many race."""

import asyncio
import logging

from gptdock.ledger.book import Book, Lease, Write
from gptdock.ledger.store import Store
from tests.harness.admin import ACCOUNT, ANNA, NOW, RECEIPT, book_of, charge, check_balance, operate
from tests.harness.service import read_receipts

DECEMBER = 1796083200


async def test_a_new_client_gets_its_quota_and_a_receipt_names_the_operator(store: Store, caplog):
    caplog.set_level(logging.INFO)

    overview = await operate(store).set_quota(ACCOUNT, 750, ANNA)

    assert (overview.client.max_quota, overview.client.created_at) == (750, "2026-11-23T02:13:20.000Z")
    assert overview.books == [("all", Book(750, 750, 0))]
    [receipt] = await read_receipts(store, ACCOUNT)
    assert receipt["receipt"].startswith("2026-11-23T02:13:20.000Z#r1#")
    shown = {name: receipt[name] for name in ("tokens", "user", "source", "outcome", "period")}
    assert shown == {"tokens": 0, "user": "cli:anna", "source": "set_quota", "outcome": "750 -> 750", "period": "all"}
    [record] = [record for record in caplog.records if record.getMessage() == "quota set"]
    assert vars(record).items() >= {"client": "c1", "operator": "cli:anna", "old": 750, "new": 750}.items()


async def test_a_quota_applies_at_once_and_stays(store: Store):
    await charge(store, "2026-11", RECEIPT, lease=Lease(50, 30, 1, NOW))
    month = operate(store, quota_period="month")

    for most in (40, 0, 10**15):
        await month.set_quota(ACCOUNT, most, ANNA)

        book = await book_of(store, "2026-11")
        assert (book.max, book.used, book.held, book.left) == (most, 12, 50, most - 62)
        assert await store.read_max(ACCOUNT) == most
    outcomes = [receipt["outcome"] for receipt in await read_receipts(store, ACCOUNT)]
    assert sorted(outcomes) == ["0 -> 1000000000000000", "100 -> 40", "40 -> 0", "complete"]
    await check_balance(store)


async def test_a_quota_set_twice_is_the_same(store: Store):
    first = await operate(store).set_quota(ACCOUNT, 40, ANNA)

    assert await operate(store).set_quota(ACCOUNT, 40, ANNA) == first


async def test_quotas_that_race_all_have_receipts_and_the_last_one_stays(store: Store):
    """Client and book always agree, while holds come and go."""
    await store.open_book(ACCOUNT, "all", 100, "now")

    async def hold() -> None:
        lease = None
        for number in range(1, 21):
            new = Lease(number % 3, 0, number, NOW + 100)
            seen, by = (lease.number, lease.held) if lease else (None, 0)
            answer = await store.send(ACCOUNT, "all", Write("a", seen, new, left_by=by - new.held))
            assert answer.applied
            assert answer.book
            assert answer.book.left + answer.book.held + answer.book.used == answer.book.max
            lease = new

    wanted = range(201, 207)
    await asyncio.gather(hold(), *(operate(store).set_quota(ACCOUNT, most, ANNA) for most in wanted))

    outcomes = [receipt["outcome"] for receipt in await read_receipts(store, ACCOUNT)]
    steps = dict(outcome.split(" -> ") for outcome in outcomes)
    most, order = "100", []
    while most in steps:
        order.append(most := steps[most])
    assert sorted(order) == [str(each) for each in wanted]
    assert (await book_of(store)).max == await store.read_max(ACCOUNT) == int(order[-1])
    await check_balance(store)


async def test_operators_who_create_the_same_client_create_one(store: Store):
    await asyncio.gather(*(operate(store).set_quota(ACCOUNT, most, ANNA) for most in range(1, 6)))

    assert (await book_of(store)).max == await store.read_max(ACCOUNT)
    assert len(await read_receipts(store, ACCOUNT)) == 5


async def test_a_change_with_the_same_request_id_is_another_change(store: Store):
    """A caller may send the same request id twice in one millisecond."""
    await operate(store).set_quota(ACCOUNT, 40, ANNA)
    await operate(store).set_quota(ACCOUNT, 50, ANNA)

    assert (await book_of(store)).max == 50
    assert len(await read_receipts(store, ACCOUNT)) == 2


async def test_a_quota_set_as_a_period_ends_applies_to_the_next(store: Store):
    """A process whose clock is ahead has already opened the next period's book with the old quota."""
    times = iter([DECEMBER - 1] * 3)  # for the first answer, for the period, and for the receipt
    for period in ("2026-11", "2026-12"):
        await store.open_book(ACCOUNT, period, 100, "now")

    await operate(store, lambda: next(times, DECEMBER), quota_period="month").set_quota(ACCOUNT, 40, ANNA)

    assert [(await book_of(store, period)).max for period in ("2026-11", "2026-12")] == [40, 40]
    assert [receipt["outcome"] for receipt in await read_receipts(store, ACCOUNT)] == ["100 -> 40"] * 2
