"""Reads over all clients: who is near the limit, whose id contains a text, what all used."""

import csv
from datetime import UTC, datetime

from gptdock.accounts import Account
from gptdock.http.cursors import to_cursor
from gptdock.ledger.book import Lease, Receipt, Write
from tests.harness.hostile import Fault, fault_of
from tests.harness.operator import read


async def answer(service, path: str, **query: str):
    async with service.admin("GET", path, **query) as response:
        return await read(response)


async def test_clients_near_their_limit_are_listed_the_fullest_first(service):
    numbers = {"a": (100, 79), "b": (100, 80), "c": (200, 190), "d": (0, 0), "e": (10, 12)}
    for client_id, (most, used) in numbers.items():
        account = Account(client_id, "p#1")
        await service.store.open_book(account, "all", most, "now")
        lease = Write("x", None, Lease(1, 1, 1, 4 * 10**9), left_by=-used, used_by=used - 1)
        assert client_id == "d" or (await service.store.send(account, "all", lease)).applied
    await service.store.open_book(Account("old", "p"), "2026-10", 0, "now")

    near = await answer(service, "clients/near")
    first = await answer(service, "clients/near", percent="95", limit="1")

    found = [(each["client_id"], each["percent"]) for each in near["clients"]]
    assert found == [("e", 120.0), ("d", 100.0), ("c", 95.0), ("b", 80.0)]
    assert near["clients"][2] == {
        "client_id": "c",
        "product_id": "p#1",
        "quota_used": 189,
        "quota_held": 1,
        "quota_left": 10,
        "max_quota": 200,
        "percent": 95.0,
    }
    assert (near["period"], first["clients"]) == ("all", near["clients"][:1])
    for cursor in (to_cursor(["1", "2"]), to_cursor(["nan", "a", "b"]), to_cursor(["1_0", "a", "b"]), "x"):
        async with service.admin("GET", "clients/near", cursor=cursor) as response:
            assert await fault_of(response) == Fault(400, "invalid_request", "cursor")
    for percent in ("101", "-1", "x"):
        async with service.admin("GET", "clients/near", percent=percent) as response:
            assert await fault_of(response) == Fault(400, "invalid_request", "percent")


async def test_clients_who_are_as_near_as_each_other_are_on_one_page_each(service):
    accounts = [Account(f"c{number}", product) for number in range(5) for product in ("p#1", "é")]
    for account in reversed(accounts):
        await service.store.open_book(account, "all", 0, "now")

    found, cursor = [], ""
    while cursor is not None:
        page = await answer(service, "clients/near", limit="3", cursor=cursor)
        found += [(each["client_id"], each["product_id"]) for each in page["clients"]]
        cursor = page["next_cursor"]

    assert found == accounts


async def test_clients_are_found_by_a_part_of_an_id_page_by_page(service):
    for client_id, product_id in (("Acme-1", "demo"), ("other", "ACME"), ("acme-2", "demo"), ("x", "y")):
        await service.store.open_book(Account(client_id, product_id), "all", 5, "2026-11-23T00:00:00.000Z")

    found, cursor = [], ""
    while cursor is not None:
        page = await answer(service, "clients", find="acme", limit="1", cursor=cursor)
        found += [each["client_id"] for each in page["clients"]]
        cursor = page["next_cursor"]

    assert sorted(found) == ["Acme-1", "acme-2", "other"]


async def test_what_all_clients_used_is_summed_between_two_days(service):
    receipts = [
        (Account("c#1", "p"), "2026-10", "2026-10-31T23:59:59.999Z#r1#p", 1, "u1", "m1"),
        (Account("c#1", "p"), "2026-11", "2026-11-01T00:00:00.000Z#r2#p", 20, "u1", "m1"),
        (Account("c2", "p"), "2026-11-02", "2026-11-03T00:00:00.001Z#r3#p", 300, "u2", "m2"),
        (Account("c2", "p"), "2026-11-03", "2026-11-03T00:00:00.002Z#r4#p", 4000, "u1", "m1"),
    ]
    for account, period, key, tokens, user, model in receipts:
        receipt = Receipt(key, tokens, 0, tokens, user, model, "upstream", "complete", "p")
        await service.store.put_receipts([(account, period, receipt)])
    days = {"from": "2026-11-01", "to": "2026-11-02"}

    by = {each: await answer(service, "usage", by=each, **days) for each in ("client", "model", "day", "user")}
    this_month = await answer(service, "usage")
    async with service.admin("GET", "usage", format="csv", **days) as response:
        [first, *_] = csv.DictReader((await response.read()).decode("utf-8-sig").splitlines())

    assert {report["tokens"] for report in by.values()} == {320}
    rows = {name: [(*list(row.values())[:-6], row["tokens"]) for row in each["rows"]] for name, each in by.items()}
    assert rows == {
        "client": [("c2", "p", 300), ("c#1", "p", 20)],
        "model": [("m2", 300), ("m1", 20)],
        "day": [("2026-11-01", 20), ("2026-11-02", 300)],
        "user": [("u2", 300), ("u1", 20)],
    }
    assert (first["client_id"], first["tokens"]) == ("c2", "300")
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    assert (this_month["from"], this_month["to"], this_month["by"]) == (f"{today[:8]}01", today, "client")
    for param, value in (("from", "2026-11"), ("to", "all"), ("by", "request"), ("from", "9999-01-01")):
        async with service.admin("GET", "usage", **{param: value}) as response:
            assert await fault_of(response) == Fault(400, "invalid_request", param)
