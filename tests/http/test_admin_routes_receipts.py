"""The receipts of one client, page by page, the newest first."""

import pytest

from gptdock.accounts import Account
from gptdock.http.cursors import to_cursor
from gptdock.ledger.book import Receipt
from tests.harness.hostile import Fault, fault_of
from tests.harness.operator import read, set_quota

ONE = Receipt("", 12, 5, 7, "u1", "m", "upstream", "complete", "p", 1)


async def put(service, *keys: str, period: str = "all") -> None:
    await service.store.put_receipts([(Account("c1", "p1"), period, ONE._replace(key=key)) for key in keys])


async def pages(service, **query: str) -> list[list[str]]:
    """The request ids of each page."""
    found, cursor = [], ""
    while cursor is not None:
        async with service.admin("GET", "client/receipts", cursor=cursor, **query) as response:
            page = await read(response)
        found.append([each["request_id"] for each in page["receipts"]])
        assert len(found) < 10, found  # a cursor that does not move on
        cursor = page["next_cursor"]
    return found


@pytest.mark.parametrize(("limit", "sizes"), [(2, [2, 2, 1]), (5, [5]), (4, [4, 1])])
async def test_receipts_come_newest_first_each_once(service, limit: int, sizes: list[int]):
    await service.store.open_book(Account("c1", "p1"), "all", 100, "now")
    await put(service, *(f"2026-11-2{day}T00:00:00.000Z#r{day}#p" for day in range(5)))
    await service.store.put_receipts([(Account("c1", "p2"), "all", ONE._replace(key="2026-11-29#other#p"))])

    found = await pages(service, limit=str(limit))

    assert list(map(len, found)) == sizes
    assert [each for page in found for each in page] == ["r4", "r3", "r2", "r1", "r0"]


async def test_a_receipt_written_while_one_pages_moves_none(service):
    await service.store.open_book(Account("c1", "p1"), "all", 100, "now")
    await put(service, *(f"2026-11-2{day}T00:00:00.000Z#r{day}#p" for day in range(3)))
    async with service.admin("GET", "client/receipts", limit="1") as response:
        first = await read(response)
    await put(service, "2026-11-27T00:00:00.000Z#r7#p")

    async with service.admin("GET", "client/receipts", limit="1", cursor=first["next_cursor"]) as response:
        second = await read(response)

    assert [page["receipts"][0]["request_id"] for page in (first, second)] == ["r2", "r1"]


async def test_receipts_are_of_the_running_period_unless_another_is_asked_for(serve):
    async with serve(quota_period="month") as service:
        await set_quota(service, 100)
        await put(service, "2026-10-30T00:00:00.000Z#old#p", "2026-10-31T23:59:59.999Z#last#p", period="2026-10")

        assert [len(each) for each in await pages(service, limit="1")] == [1]  # the quota that was set
        assert await pages(service, period="2026-10", limit="1") == [["last"], ["old"]]
        assert await pages(service, period="2026-10-30") == [["old"]]
        assert [len(each) for each in await pages(service, period="all")] == [3]


async def test_a_receipt_says_what_was_charged_and_why(service):
    async with service.ask() as response:
        await response.read()
    await set_quota(service, 4000)
    await service.ledger.settled()

    async with service.admin("GET", "client/receipts") as response:
        newest, oldest = (await read(response))["receipts"]
    async with service.admin("GET", "client/usage", by="request") as response:
        assert (await read(response))["rows"] == [oldest, newest]
    assert (newest["source"], newest["outcome"]) == ("set_quota", "500000 -> 4000")
    assert (oldest["tokens"], oldest["outcome"]) == (service.openai.journal[0].spent, "complete")


async def test_receipts_with_bad_parameters_are_refused(service):
    await set_quota(service, 100)
    bad = {"limit": "0", "period": "2026-13", "by": "day", "format": "csv", "cursor": to_cursor(["a", "b"])}
    for param, value in bad.items():
        async with service.admin("GET", "client/receipts", **{param: value}) as response:
            assert (param, await fault_of(response)) == (param, Fault(400, "invalid_request", param))
    async with service.admin("GET", "client/receipts", client_id="nobody") as response:
        assert await fault_of(response) == Fault(404, "client_not_found", None)
