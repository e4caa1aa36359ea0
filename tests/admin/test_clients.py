"""What an operator sees of clients, on moto over HTTP: pages of all, one client with its books, its receipts."""

import sys
from collections.abc import AsyncIterator

import pytest

from gptdock.accounts import Account
from gptdock.admin.clients import fullest
from gptdock.errors import ClientNotFound
from gptdock.ledger.book import Lease
from gptdock.ledger.scans import Spent
from gptdock.ledger.store import Store
from tests.harness.admin import ACCOUNT, ANNA, NOW, RECEIPT, charge, operate
from tests.harness.proxy import Proxy
from tests.harness.service import read_receipts


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 1000])
async def test_pages_list_every_client_once(store: Store, limit: int, monkeypatch):
    monkeypatch.setattr("gptdock.ledger.store.PAGE", 4)  # so that a scan ends within a page, and within a client
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
    assert [client.account async for client in operate(store).find("")] == seen


async def test_a_page_of_no_clients_is_empty(store: Store):
    assert await operate(store).page(10, None) == ([], None)


async def test_a_client_is_shown_with_its_own_books_the_running_one_first(store: Store):
    for account in (ACCOUNT, Account("c1", "p2")):
        for period in ("2026-10", "all", "2026-11", "2026-09"):
            await store.open_book(account, period, 100, "2026-09-01T00:00:00.000Z")

    overview = await operate(store, quota_period="month").look(ACCOUNT)

    assert overview.to_json() | {"books": []} == {
        "client_id": "c1",
        "product_id": "p1",
        "max_quota": 100,
        "follows_default": False,
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


async def test_showing_a_client_sweeps_the_leases_of_lost_processes(store: Store):
    await charge(store, "all", lease=Lease(50, 30, 1, NOW - 11))

    overview = await operate(store).look(ACCOUNT)

    [(_, book)] = overview.books
    assert (book.held, book.used, book.left) == (0, 30, 70)
    [receipt] = await read_receipts(store, ACCOUNT)
    assert (receipt["source"], receipt["tokens"]) == ("lost", 30)


@pytest.mark.parametrize("account", [Account("c1", "p2"), Account("c2", "p1")])
async def test_an_unknown_client_is_not_found(store: Store, account: Account):
    await store.open_book(ACCOUNT, "all", 100, "now")

    with pytest.raises(ClientNotFound):
        await operate(store).look(account)
    with pytest.raises(ClientNotFound):
        await operate(store).reset(account, ANNA)


async def test_receipts_are_read_from_the_start_of_their_period(store: Store, behind: Store, proxy: Proxy, monkeypatch):
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


async def test_the_fullest_of_many_books_are_kept_in_their_order():
    def book(number: int) -> Spent:
        return Spent(Account(f"c{number:04}", "p"), 100, number % 7, 0)

    async def books() -> AsyncIterator[Spent]:
        for number in reversed(range(1000)):
            yield book(number)

    expected = sorted(map(book, range(1000)), key=lambda each: (each.left, each.account))
    assert await fullest(books(), 0, 10) == expected[:10]
    assert await fullest(books(), 0, 10, expected[150].place) == expected[151:161]
    assert await fullest(books(), 95, sys.maxsize) == [each for each in expected if each.left <= 5]
