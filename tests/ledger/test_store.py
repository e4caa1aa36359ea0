"""The store against moto's DynamoDB, over HTTP."""

import asyncio
from types import SimpleNamespace

import pytest
from aiohttp import web

from gptdock.accounts import Account
from gptdock.errors import LedgerUnavailable, SettingsError
from gptdock.ledger import aws, verbs
from gptdock.ledger.book import Lease, Receipt, Write
from gptdock.ledger.clock import Clock
from gptdock.ledger.store import Result, Store
from tests.harness.proxy import Proxy
from tests.harness.service import NOBODY, make_settings, read_receipts

pytestmark = pytest.mark.usefixtures("each_way")

ACCOUNT = Account("c1", "p1")
FIRST = Write("a", None, Lease(5, 5, 1, 100), left_by=-5, needed=5, new_holds={1: 5})
RECEIPT = Receipt("k", 12, 5, 7, "user", "model", "upstream", "complete", "p", 3)


async def test_creating_tables_again_changes_nothing(store: Store):
    await store.open_book(ACCOUNT, "all", 100, "now")

    await store.create_tables()

    assert await store.read_max(ACCOUNT) == 100
    await store.check()


async def test_a_missing_table_is_named(without_tables: str):
    async with Store.connected(make_settings(without_tables, NOBODY)) as empty:
        with pytest.raises(SettingsError, match="gptdock_quota"):
            await empty.check()


async def test_another_prefix_is_for_other_tables(store: Store, dynamodb: str):
    async with Store.connected(make_settings(dynamodb, NOBODY, dynamodb_table_prefix="other_")) as other:
        await other.create_tables()
        await other.open_book(ACCOUNT, "all", 100, "now")

    assert await store.read_max(ACCOUNT) is None


async def test_a_write_to_a_missing_book_is_refused_without_a_book(store: Store):
    assert await store.send(ACCOUNT, "all", FIRST) == Result(False, None)


async def test_a_book_that_many_open_at_once_is_opened_once(store: Store):
    await asyncio.gather(*(store.open_book(ACCOUNT, "all", most, "now") for most in range(100, 120)))

    book, standing = await store.read(ACCOUNT, "all"), await store.read_max(ACCOUNT)
    assert book
    assert book.max == book.left == standing
    assert book.used == 0


async def test_a_new_period_starts_from_the_standing_quota(store: Store):
    await store.open_book(ACCOUNT, "2026-11", 100, "now")

    await store.open_book(ACCOUNT, "2026-12", 999, "now")

    book = await store.read(ACCOUNT, "2026-12")
    assert book
    assert book.max == 100


async def test_a_book_is_not_created_from_a_quota_that_was_changed(store: Store, behind: Store, proxy: Proxy):
    await store.open_book(ACCOUNT, "2026-11", 100, "now")
    proxy.strike("late", operation="TransactWriteItems")
    with pytest.raises(LedgerUnavailable):
        await behind.open_book(ACCOUNT, "2026-12", 100, "now")

    assert await store.change(ACCOUNT, "2026-11", verbs.set_max(100, 40, RECEIPT))

    assert await proxy.release() == [400]
    assert await store.read(ACCOUNT, "2026-12") is None


async def test_an_opened_book_is_not_opened_again(store: Store):
    await store.open_book(ACCOUNT, "all", 100, "now")
    await store.send(ACCOUNT, "all", FIRST)

    await store.open_book(ACCOUNT, "all", 100, "now")

    book = await store.read(ACCOUNT, "all")
    assert book
    assert (book.left, book.held) == (95, 5)


async def test_a_refused_write_shows_the_book(store: Store):
    await store.open_book(ACCOUNT, "all", 4, "now")

    answer = await store.send(ACCOUNT, "all", FIRST)

    assert not answer.applied
    assert answer.book
    assert answer.book.left == 4


@pytest.mark.usefixtures("deadlines_as_served")
@pytest.mark.parametrize("fault", ["lose", "throttle", "break", "hole"])
async def test_whatever_is_no_clear_answer_is_ledger_unavailable(behind: Store, proxy: Proxy, fault):
    await behind.open_book(ACCOUNT, "all", 100, "now")
    proxy.strike(fault)

    with pytest.raises(LedgerUnavailable):
        await behind.send(ACCOUNT, "all", FIRST)

    assert proxy.calls["UpdateItem"] == 1, "a write was repeated"


async def test_receipts_may_be_put_again(store: Store):
    for _ in range(2):
        await store.put_receipts([(ACCOUNT, "all", RECEIPT)])

    [item] = await read_receipts(store, ACCOUNT)
    assert (item["receipt"], item["tokens"], item["commit"], item["period"]) == ("k", 12, 3, "all")


async def test_receipts_that_were_left_unprocessed_are_not_put(aiohttp_raw_server):
    """DynamoDB may answer a batch with 200 and leave some of it, or all, as when it is throttled."""

    async def leave(request: web.BaseRequest) -> web.Response:
        left = (await request.json())["RequestItems"]
        return web.json_response({"UnprocessedItems": left}, content_type="application/x-amz-json-1.0")

    server = await aiohttp_raw_server(leave)
    async with Store.connected(make_settings(str(server.make_url("")).rstrip("/"), NOBODY)) as throttled:
        with pytest.raises(LedgerUnavailable) as raised:
            await throttled.put_receipts([(ACCOUNT, "all", RECEIPT)])

    assert raised.value.fault == "UnprocessedItems"


async def test_an_error_that_nobody_foresaw_is_no_clear_answer_either():
    async def unreadable(**_parameters):
        raise KeyError("Attributes")

    store = Store(aws.Client(SimpleNamespace(update_item=unreadable), None, Clock()), "gptdock_")

    with pytest.raises(LedgerUnavailable) as raised:
        await store.send(ACCOUNT, "all", FIRST)
    assert raised.value.fault == "KeyError"


async def test_the_books_of_a_client_are_read_a_page_at_a_time(store: Store, behind: Store, proxy: Proxy, monkeypatch):
    monkeypatch.setattr("gptdock.ledger.store.PAGE", 2)
    accounts = [Account("c1", f"p{number}") for number in range(3)]
    for account in accounts:
        await store.open_book(account, "all", 100, "now")

    assert [account async for account, _, _ in behind.books("c1")] == accounts

    assert proxy.calls["Query"] >= 3, "six items, two a page"
