"""What an operator does, against moto over HTTP: each change happens once and is a receipt, whoever races or fails."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from gptdock.accounts import Account
from gptdock.admin import clients
from gptdock.admin.audit import audit
from gptdock.admin.clients import Clients, Operator
from gptdock.errors import ClientNotFound, LedgerUnavailable
from gptdock.ledger.book import Book, Lease, Receipt, Write
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from tests.harness.proxy import Proxy
from tests.harness.service import NOBODY, make_settings, read_receipts

ACCOUNT = Account("c1", "p1")
ANNA = Operator("cli:anna", "r1")
NOW = 1795400000  # 2026-11-23T02:13:20Z
DECEMBER = 1796083200
RECEIPT = Receipt("2026-11-23T02:13:19.000Z#r#p.1", 12, 5, 7, "u1", "model", "upstream", "complete", "a", 1)


def operate(store: Store, clock: Callable[[], float] = lambda: NOW, **changes: object) -> Clients:
    return Clients(store, make_settings("http://127.0.0.1:1", NOBODY, **changes), clock=clock)


async def charge(store: Store, period: str, *receipts: Receipt, lease: Lease | None = None, most: int = 100) -> None:
    """A book of which these receipts are charged and put, and which has this lease, if any, of process `b`."""
    await store.open_book(ACCOUNT, period, most, "2026-11-01T00:00:00.000Z")
    used, held = sum(receipt.tokens for receipt in receipts), lease.held if lease else 0
    writes = [Write("a", None, Lease(0, 0, 1, NOW, receipts), left_by=-used, used_by=used)]
    writes += [Write("b", None, lease, left_by=-held)] if lease else []
    assert all([(await store.send(ACCOUNT, period, write)).applied for write in writes])
    if receipts:
        await store.put_receipts([(ACCOUNT, period, receipt) for receipt in receipts])


async def check_balance(store: Store) -> None:
    sweeper = Sweeper(store, "", lambda: NOW, 10, 3600)
    findings = [finding async for finding in audit(store, sweeper)]
    assert findings
    assert [finding for finding in findings if finding.drift] == []


async def book_of(store: Store, period: str = "all") -> Book:
    book = await store.read(ACCOUNT, period)
    assert book
    return book


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 1000])
async def test_pages_hold_every_client_once(store: Store, limit: int, monkeypatch):
    monkeypatch.setattr("gptdock.ledger.store.PAGE", 4)  # so that a scan ends in the middle of a page, and of a client
    accounts = {Account(f"c{number}", product) for number in range(4) for product in ("p1", "p#2")}
    for account in accounts:
        for period in ("all", "2026-11"):
            await store.open_book(account, period, 100, "now")

    sizes, seen, after = [], [], None
    while True:
        page, after = await operate(store).page(limit, after)
        sizes.append(len(page))
        seen += [client.account for client in page]
        if after is None:
            break

    assert len(seen) == len(accounts)
    assert set(seen) == accounts
    assert max(sizes) <= limit
    assert 0 not in sizes
    assert [client.account async for client in operate(store).all()] == seen


async def test_no_clients_are_one_empty_page(store: Store):
    assert await operate(store).page(10, None) == ([], None)


async def test_a_look_shows_the_client_s_own_books_the_running_one_first(store: Store):
    for account in (ACCOUNT, Account("c1", "p2")):
        for period in ("2026-10", "all", "2026-11", "2026-09"):
            await store.open_book(account, period, 100, "2026-09-01T00:00:00.000Z")

    overview = await operate(store, quota_period="month").look(ACCOUNT)

    assert overview.to_json() | {"books": []} == {
        "client_id": "c1",
        "product_id": "p1",
        "max_quota": 100,
        "created_at": "2026-09-01T00:00:00.000Z",
        "books": [],
    }
    assert [period for period, _ in overview.books] == ["2026-11", "all", "2026-10", "2026-09"]
    assert overview.to_json()["books"][0] == {
        "period": "2026-11",
        "quota_used": 0,
        "quota_held": 0,
        "quota_left": 100,
        "max_quota": 100,
        "resets_at": "2026-12-01T00:00:00Z",
    }


async def test_a_look_sweeps_what_a_lost_process_held(store: Store):
    await charge(store, "all", lease=Lease(50, 30, 1, NOW - 11))

    overview = await operate(store).look(ACCOUNT)

    [(_, book)] = overview.books
    assert (book.held, book.used, book.left) == (0, 30, 70)
    [receipt] = await read_receipts(store, ACCOUNT)
    assert (receipt["source"], receipt["tokens"]) == ("lost", 30)


@pytest.mark.parametrize("account", [Account("c1", "p2"), Account("c2", "p1")])
async def test_who_was_never_seen_is_not_found(store: Store, account: Account):
    await store.open_book(ACCOUNT, "all", 100, "now")

    with pytest.raises(ClientNotFound):
        await operate(store).look(account)
    with pytest.raises(ClientNotFound):
        await operate(store).reset(account, ANNA)


async def test_a_new_client_gets_its_quota_and_a_receipt_says_from_whom(store: Store, caplog):
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


async def test_a_quota_counts_at_once_and_stays(store: Store):
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


async def test_a_quota_set_again_changes_nothing_more(store: Store):
    first = await operate(store).set_quota(ACCOUNT, 40, ANNA)

    assert await operate(store).set_quota(ACCOUNT, 40, ANNA) == first


async def test_of_quotas_that_race_the_last_one_stays_and_all_are_receipts(store: Store):
    """Account and book always agree, though holds come and go meanwhile."""
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


async def test_many_who_make_a_client_make_one(store: Store):
    await asyncio.gather(*(operate(store).set_quota(ACCOUNT, most, ANNA) for most in range(1, 6)))

    assert (await book_of(store)).max == await store.read_max(ACCOUNT)
    assert len(await read_receipts(store, ACCOUNT)) == 5


@pytest.mark.parametrize("fault", ["lose", "throttle", "break"])
async def test_a_change_that_was_not_answered_happens_once(store: Store, behind: Store, proxy: Proxy, fault):
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


async def test_an_answer_lost_is_no_reason_to_undo_what_came_after(store: Store, behind: Store, proxy: Proxy):
    """Our change was applied, though we were not told; then somebody set another; ours must not come again."""
    await store.open_book(ACCOUNT, "all", 100, "now")
    proxy.strike("lose", operation="TransactWriteItems")
    ours = asyncio.create_task(operate(behind).set_quota(ACCOUNT, 40, ANNA))
    await proxy.struck.wait()

    await operate(store).set_quota(ACCOUNT, 70, Operator("cli:bert", "r2"))
    await ours

    assert (await book_of(store)).max == await store.read_max(ACCOUNT) == 70


@pytest.mark.parametrize("fault", ["throttle", "break"])
async def test_a_change_that_is_never_answered_is_given_up(behind: Store, proxy: Proxy, fault, monkeypatch):
    monkeypatch.setattr(clients, "PATIENCE_SECONDS", 0.0)
    await behind.open_book(ACCOUNT, "all", 100, "now")
    proxy.strike(fault, operation="TransactWriteItems")

    with pytest.raises(LedgerUnavailable):
        await operate(behind).set_quota(ACCOUNT, 40, ANNA)

    assert (await book_of(behind)).max == 100


@pytest.mark.parametrize("change", ["set_quota", "reset"])
async def test_where_nothing_was_sent_nothing_is_tried_again(behind: Store, proxy: Proxy, change: str):
    proxy.always = "break"

    with pytest.raises(LedgerUnavailable):
        await (
            operate(behind).reset(ACCOUNT, ANNA) if change == "reset" else operate(behind).set_quota(ACCOUNT, 40, ANNA)
        )

    assert proxy.calls.total() == 1


async def test_the_same_request_id_is_another_change(store: Store):
    """A caller may send any request id, also twice in the same millisecond."""
    await operate(store).set_quota(ACCOUNT, 40, ANNA)
    await operate(store).set_quota(ACCOUNT, 50, ANNA)

    assert (await book_of(store)).max == 50
    assert len(await read_receipts(store, ACCOUNT)) == 2


async def test_a_quota_set_as_a_period_ends_counts_in_the_next(store: Store):
    """The next period's book was opened with the old quota, by a process whose clock is ahead."""
    times = iter([DECEMBER - 1] * 2)  # for the period, and for the receipt
    for period in ("2026-11", "2026-12"):
        await store.open_book(ACCOUNT, period, 100, "now")

    await operate(store, lambda: next(times, DECEMBER), quota_period="month").set_quota(ACCOUNT, 40, ANNA)

    assert [(await book_of(store, period)).max for period in ("2026-11", "2026-12")] == [40, 40]
    assert [receipt["outcome"] for receipt in await read_receipts(store, ACCOUNT)] == ["100 -> 40"] * 2


async def test_a_reset_starts_the_running_period_anew_and_says_so(store: Store, caplog):
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


async def test_a_reset_charges_the_lost_first(store: Store):
    """Else their wills would be charged to the client that was just forgiven."""
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


async def test_a_period_without_a_book_needs_no_reset(store: Store):
    await store.open_book(ACCOUNT, "2026-10", 100, "now")

    overview = await operate(store, quota_period="month").reset(ACCOUNT, ANNA)

    assert [period for period, _ in overview.books] == ["2026-10"]
    assert await read_receipts(store, ACCOUNT) == []


async def test_receipts_are_read_from_where_their_period_starts(store: Store, behind: Store, proxy: Proxy, monkeypatch):
    monkeypatch.setattr("gptdock.ledger.store.PAGE", 2)
    days = [f"2026-{month}-{day:02}" for month in ("10", "11") for day in range(10, 16)]
    receipts = [RECEIPT._replace(key=f"{day}T00:00:00.000Z#r#p") for day in days]
    await charge(store, "all", *receipts, most=1000)

    async def read(asked: str) -> tuple[list[str], int]:
        proxy.calls.clear()
        found = [receipt.key[:10] async for _, receipt in operate(behind).receipts(ACCOUNT, asked)]
        return found, proxy.calls["Query"]

    (every, most), (month, fewer), (day, one) = [await read(asked) for asked in ("all", "2026-11", "2026-11-15")]

    assert (every, month, day) == (days, days[6:], days[-1:])
    assert most > fewer > one == 1
    assert (await read("2026-09"))[0] == []
