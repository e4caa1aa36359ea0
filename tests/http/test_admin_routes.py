"""The routes of `/v1/admin`, as an operator meets them, and as nobody else does."""

import asyncio
import csv
import hashlib
import json
import logging
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from gptdock.accounts import Account
from gptdock.admin.audit import audit
from gptdock.dev.script import Script
from gptdock.http.admin_routes import from_cursor, to_cursor
from gptdock.ledger.book import Lease, Receipt, Write
from gptdock.ledger.sweeper import Sweeper
from tests.harness.hostile import Fault, connect, fault_of, read_fault, request
from tests.harness.service import ADMIN_KEY, KEY, make_settings, running, sse_data
from tests.http.test_middlewares import WRONG_KEYS

FORBIDDEN, UNKNOWN = Fault(403, "forbidden"), Fault(404, "client_not_found")
WHO = "client_id=c1&product_id=p1"
ROUTES = [
    ("GET", "/v1/admin/clients"),
    ("GET", f"/v1/admin/client?{WHO}"),
    ("PUT", f"/v1/admin/client/quota?{WHO}"),
    ("POST", f"/v1/admin/client/reset?{WHO}"),
    ("GET", f"/v1/admin/client/usage?{WHO}"),
]
BELOW = [*ROUTES, ("GET", "/v1/admin/"), ("GET", "/v1/admin/nowhere"), ("DELETE", "/v1/admin/client")]
ELSEWHERE = [
    ("POST", "/v1/ask"),
    ("GET", f"/v1/client/info?{WHO}"),
    ("GET", "/v1/admin"),
    ("GET", "/v1/administrators"),
    ("GET", "/nowhere"),
    ("POST", "/v1/health"),
]
SPELLED = [
    "/v1/%61dmin/clients",
    "/v1/admin%2Fclients",
    "/v1%2Fadmin/clients",
    "/v1/admin/clients/",
    "//v1/admin/clients",
    "/v1//admin/clients",
    "/v1/./admin/clients",
    "/v1/client/../admin/clients",
    "/v1/%2e/admin/clients",
    "/V1/ADMIN/clients",
    "/v1/admin/clients;x",
    "/v1/admin/clients%00",
    "http://gptdock/v1/admin/clients",
]


async def statuses(service, key: str, routes: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """What each route answers to this key, asked for as it is written here."""
    found = {}
    for route in routes:
        async with connect(service) as connection:
            headers = {"Authorization": f"Bearer {key}", "Connection": "close"}
            connection.send(request(*route, headers=headers, body=b"{}"))
            found[route] = int((await connection.rest()).split(b" ", 2)[1])
    return found


async def test_each_key_opens_its_own_routes_and_no_other(serve):
    async with serve(admin_key="one,two") as service:
        for key in ("one", "two"):
            opened = await statuses(service, key, BELOW)
            assert list(opened.values()) == [200, 404, 400, 404, 404, 404, 404, 405]
            assert await statuses(service, key, ELSEWHERE) == dict.fromkeys(ELSEWHERE, 403)

        assert await statuses(service, KEY, BELOW) == dict.fromkeys(BELOW, 403)
        assert list((await statuses(service, KEY, ELSEWHERE)).values()) == [400, 404, 404, 404, 404, 405]
        for key in ("", "three", "one,two"):
            assert set((await statuses(service, key, BELOW + ELSEWHERE)).values()) == {403}


async def test_without_an_admin_key_there_are_no_admin_routes(serve):
    async with serve(admin_key="") as service:
        assert await statuses(service, KEY, BELOW) == dict.fromkeys(BELOW, 404)
        for key in ("", ADMIN_KEY):
            assert await statuses(service, key, BELOW) == dict.fromkeys(BELOW, 403)


async def test_however_a_path_is_written_the_pre_shared_key_is_none_for_it(service):
    routes = [("GET", path) for path in SPELLED]

    found = await statuses(service, KEY, routes)

    assert set(found.values()) <= {400, 403, 404}
    async with service.admin("GET", "clients") as response:
        assert response.status == 200
    for path, status in (await statuses(service, ADMIN_KEY, routes)).items():
        assert status != 200 or found[path] == 403


async def test_without_a_right_key_nobody_administers(service):
    faults = {}
    for header in WRONG_KEYS:
        async with connect(service) as connection:
            sent = header.replace(b"test-key", ADMIN_KEY.encode()).replace(b"Test-key", b"Test-admin-key")
            connection.send(b"GET /v1/admin/clients HTTP/1.1\r\nHost: gptdock\r\n%s\r\n" % sent)
            faults[header] = await connection.fault()

    assert faults == dict.fromkeys(WRONG_KEYS, FORBIDDEN)


async def read(response: aiohttp.ClientResponse):
    """The JSON of an answer that must be well."""
    assert response.status == 200, await response.text()
    assert response.content_type == "application/json"
    return await response.json()


async def overview(service, **query: str):
    """One client as the API shows it, once everything is settled."""
    await service.ledger.settled()
    async with service.admin("GET", "client", **query) as response:
        return await read(response)


async def set_quota(service, max_quota: int, **query: str):
    async with service.admin("PUT", "client/quota", json={"max_quota": max_quota}, **query) as response:
        return await read(response)


async def check_balance(service) -> None:
    """As `gptdock audit` would find it."""
    await service.ledger.settled()
    sweeper = Sweeper(service.store, service.ledger.process, lambda: 0, 10, 3600)
    findings = [finding async for finding in audit(service.store, sweeper)]
    assert findings
    assert [finding for finding in findings if finding.drift] == []


async def test_pages_of_clients_lead_to_each_other(service):
    accounts = {(f"c{number}#é", "p=&1") for number in range(5)}
    for client_id, product_id in accounts:
        await set_quota(service, 100, client_id=client_id, product_id=product_id)

    pages, cursor = [], ""
    while cursor is not None:
        async with service.admin("GET", "clients", limit="2", cursor=cursor) as response:
            content = await read(response)
        pages.append(content["clients"])
        cursor = content["next_cursor"]

    assert [len(page) for page in pages] == [2, 2, 1]
    listed = [client for page in pages for client in page]
    assert {(client["client_id"], client["product_id"]) for client in listed} == accounts
    assert all(list(client) == ["client_id", "product_id", "max_quota", "created_at"] for client in listed)
    async with service.admin("GET", "clients") as response:
        assert await read(response) == {"clients": listed, "next_cursor": None}


async def test_what_is_no_page_is_refused(service):
    bad = {"limit": ["0", "1001", "-1", "x", "1.0", "٣", "99999"]}
    ids = [
        [],
        ["a"],
        ["a", "b", "c"],
        ["", "b"],
        ["a", None],
        ["a\n", "b"],
        ["x" * 256, "b"],
        {},
        7,
        "\ud800a",
        [[], {}],
    ]
    forged = [urlsafe_b64encode(json.dumps(each).encode()).decode() for each in ids]
    bad["cursor"] = [*forged, "x", "é", "!!!!", "[]", "AAAA", "=", urlsafe_b64encode(b"[" * 10_000).decode()[:6000]]

    for param, values in bad.items():
        for value in values:
            async with service.admin("GET", "clients", **{param: value}) as response:
                assert (value, await fault_of(response)) == (value, Fault(400, "invalid_request", param))


@pytest.mark.parametrize("account", [Account("c1", "p1"), Account("é🦆?/&=#", "+ %"), Account("1", "x" * 255)])
def test_a_cursor_is_an_account_that_fits_into_a_url(account: Account):
    assert from_cursor(to_cursor(account)) == account
    assert to_cursor(account).replace("-", "").replace("_", "").isalnum()


async def test_a_client_is_shown_with_its_books(service):
    async with service.ask() as response:
        assert response.status == 200
    spent = service.openai.journal[0].spent

    shown = await overview(service)

    assert list(shown) == ["client_id", "product_id", "max_quota", "created_at", "books"]
    assert shown["books"] == [
        {
            "period": "all",
            "quota_used": spent,
            "quota_held": 0,
            "quota_left": 500_000 - spent,
            "max_quota": 500_000,
            "resets_at": None,
        }
    ]


async def test_who_is_unknown_or_not_named_is_told_so(service):
    for method, path in (("GET", "client"), ("POST", "client/reset"), ("GET", "client/usage")):
        async with service.admin(method, path) as response:
            assert await fault_of(response) == UNKNOWN
    for method, path in (
        ("GET", "client"),
        ("PUT", "client/quota"),
        ("POST", "client/reset"),
        ("GET", "client/usage"),
    ):
        for query in ({"client_id": ""}, {"product_id": "a\nb"}):
            async with service.admin(method, path, json={"max_quota": 1}, **query) as response:
                assert await fault_of(response) == Fault(400, "invalid_request", next(iter(query)))


async def test_a_quota_is_set_and_told_and_set_again(service, caplog):
    caplog.set_level(logging.INFO)

    first = await set_quota(service, 750_000)

    assert (first["max_quota"], first["books"][0]["quota_left"]) == (750_000, 750_000)
    assert await set_quota(service, 750_000) == first == await overview(service)
    name = f"key:{hashlib.sha256(ADMIN_KEY.encode()).hexdigest()[:12]}"
    receipts = await service.receipts()
    assert [(each["user"], each["source"], each["tokens"]) for each in receipts] == [(name, "set_quota", 0)] * 2
    [record, _] = [record for record in caplog.records if record.getMessage() == "quota set"]
    assert record.operator == name
    assert ADMIN_KEY not in caplog.text
    await check_balance(service)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", "body"),
        (b"[750000]", "body"),
        (b'{"max_quota": 1, "max_quota": 2}', "body"),
        (b'{"max_quota": NaN}', "body"),
        (b"{}", "max_quota"),
        (b'{"max_quota": null}', "max_quota"),
        (b'{"max_quota": true}', "max_quota"),
        (b'{"max_quota": "750000"}', "max_quota"),
        (b'{"max_quota": 1.0}', "max_quota"),
        (b'{"max_quota": -1}', "max_quota"),
        (b'{"max_quota": 1000000000000001}', "max_quota"),
    ],
)
async def test_what_is_no_quota_is_refused(service, body: bytes, param: str):
    url, headers = f"{service.url}/v1/admin/client/quota?{WHO}", {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with service.session.put(url, data=body, headers=headers) as response:
        assert await fault_of(response) == Fault(400, "invalid_request", param)
    async with service.admin("GET", "client") as response:
        assert await fault_of(response) == UNKNOWN


@pytest.mark.parametrize("max_quota", [0, 10**15])
async def test_the_least_and_the_largest_quota_are_quotas(service, max_quota: int):
    shown = await set_quota(service, max_quota)

    assert shown["books"][0]["quota_left"] == max_quota


async def test_a_quota_below_what_is_held_refuses_until_it_fits(serve):
    async with serve(max_completion_tokens=1000) as service:
        service.openai.script = Script(tokens=20, hold_at=5)
        async with service.ask(stream=True) as stream:
            await service.openai.journal.sent(5)
            held = (await service.store.read(Account("c1", "p1"), "all")).held

            [book] = (await set_quota(service, 100))["books"]

            assert (book["quota_held"], book["quota_left"]) == (held, 100 - held)
            async with service.ask() as refused:
                assert await fault_of(refused) == Fault(402, "insufficient_quota")
            service.openai.release()
            assert sse_data(await stream.read())[-1] == b"[DONE]"

        await set_quota(service, 5000)
        service.openai.script = Script(tokens=20)
        async with service.ask() as response:
            assert response.status == 200
        used = sum(record.spent for record in service.openai.journal)
        [book] = (await overview(service))["books"]
        assert (book["quota_used"], book["quota_held"], book["quota_left"]) == (used, 0, 5000 - used)
        await check_balance(service)


async def test_quotas_set_while_streams_come_and_go_leave_the_books_right(service):
    async def ask() -> int:
        async with service.ask(stream=True) as response:
            await response.read()
            return response.status

    async with asyncio.TaskGroup() as group:
        asks = [group.create_task(ask()) for _ in range(20)]
        sets = [group.create_task(set_quota(service, 100_000 + number)) for number in range(5)]

    assert {asked.result() for asked in asks} == {200}
    for shown in [each.result() for each in sets] + [await overview(service)]:
        [book] = shown["books"]
        assert book["quota_left"] + book["quota_held"] + book["quota_used"] == book["max_quota"]
    [book] = (await overview(service))["books"]
    assert book["max_quota"] == (await overview(service))["max_quota"]
    assert book["quota_used"] == sum(record.spent for record in service.openai.journal)
    assert len(await service.receipts()) == 25
    await check_balance(service)


async def test_after_a_reset_what_was_open_is_charged_right(service):
    async with service.ask() as response:
        await response.read()
    service.openai.script = Script(tokens=20, hold_at=5)
    async with service.ask(stream=True) as stream:
        await service.openai.journal.sent(5)

        async with service.admin("POST", "client/reset") as response:
            [book] = (await read(response))["books"]

        assert book["quota_used"] == 0
        assert book["quota_held"] > 0
        service.openai.release()
        await stream.read()
    [book] = (await overview(service))["books"]
    spent = service.openai.journal[1].spent
    assert (book["quota_used"], book["quota_left"]) == (spent, book["max_quota"] - spent)
    [receipt] = [receipt for receipt in await service.receipts() if receipt["source"] == "reset"]
    assert receipt["tokens"] == -service.openai.journal[0].spent
    await check_balance(service)


async def report(service, **query: str):
    await service.ledger.settled()
    async with service.admin("GET", "client/usage", **query) as response:
        return await read(response)


async def test_a_report_sums_to_what_was_used(service):
    for user_id in ("u1", "u2", "u1"):
        async with service.ask(user_id=user_id) as response:
            await response.read()
    await set_quota(service, 9000)
    used = (await overview(service))["books"][0]["quota_used"]
    lost = Write("dead", None, Lease(50, 30, 1, 1), left_by=-50)
    assert (await service.store.send(Account("c1", "p1"), "all", lost)).applied

    by_day, by_user, by_request = [await report(service, by=by) for by in ("day", "user", "request")]

    assert {each["tokens"] for each in (by_day, by_user, by_request)} == {used + 30}
    [day] = by_day["rows"]
    assert (day["requests"], day["tokens"]) == (3, used + 30)
    requests = {row["user"]: row["requests"] for row in by_user["rows"]}
    name = f"key:{hashlib.sha256(ADMIN_KEY.encode()).hexdigest()[:12]}"
    assert requests == {"u1": 2, "u2": 1, "-": 0, name: 0}
    assert sorted(row["source"] for row in by_request["rows"]) == ["lost", "set_quota", *["upstream"] * 3]
    assert await report(service) == by_day
    assert {name: by_day[name] for name in ("client_id", "product_id", "period", "by")} == {
        "client_id": "c1",
        "product_id": "p1",
        "period": "all",
        "by": "day",
    }


async def test_a_report_is_of_the_running_period_unless_another_is_asked_for(serve):
    october = Receipt("2026-10-31T23:59:59.999Z#r#p", 12, 5, 7, "u9", "m", "upstream", "complete", "p", 1)
    async with serve(quota_period="month") as service:
        async with service.ask() as response:
            await response.read()
        await service.store.put_receipts([(Account("c1", "p1"), "2026-10", october)])
        spent, period = service.openai.journal[0].spent, service.ledger.period()

        found = {
            asked: (await report(service, period=asked))["tokens"] for asked in ("", "2026-10", "2026-10-31", "all")
        }

        assert (await report(service))["period"] == period
        assert found == {"": spent, "2026-10": 12, "2026-10-31": 12, "all": spent + 12}


async def test_what_is_no_report_is_refused(service):
    await set_quota(service, 100)
    for param, value in (("period", "2026-13"), ("period", "2026"), ("by", "client"), ("format", "xml"), ("by", "DAY")):
        async with service.admin("GET", "client/usage", **{param: value}) as response:
            assert await fault_of(response) == Fault(400, "invalid_request", param)


@pytest.mark.parametrize("by", ["day", "user", "request"])
async def test_a_report_as_csv_is_a_file_without_formulas(service, by: str):
    async with service.ask(user_id="=1+1") as response:
        await response.read()
    expected = await report(service, by=by)

    async with service.admin("GET", "client/usage", by=by, format="csv") as response:
        text = await response.text()

    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == f'attachment; filename="usage-all-by-{by}.csv"'
    rows = [row | ({"user": "'=1+1"} if "user" in row else {}) for row in expected["rows"]]
    assert list(csv.DictReader(text.splitlines())) == [{name: str(cell) for name, cell in row.items()} for row in rows]


async def fill(service, count: int) -> None:
    """So many receipts of the usual client."""
    await set_quota(service, 100)
    receipt = Receipt("", 12, 5, 7, "u1", "m", "upstream", "complete", "p", 1)
    receipts = [receipt._replace(key=f"2026-11-23T00:00:00.000Z#r{number:04}#p") for number in range(count)]
    for start in range(0, count, 25):
        batch = receipts[start : start + 25]
        await service.store.put_receipts([(Account("c1", "p1"), "all", receipt) for receipt in batch])


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("by", ["day", "request"])
async def test_a_report_that_cannot_be_begun_has_a_status(proxy, openai, by: str, form: str):
    async with running(make_settings(proxy.url, openai.url), openai) as service:
        await fill(service, 5)
        proxy.strike("pass", "break", operation="Query")  # the books, the first page

        async with service.admin("GET", "client/usage", by=by, format=form) as response:
            assert await fault_of(response) == Fault(503, "ledger_unavailable")


@pytest.mark.parametrize("form", ["json", "csv"])
async def test_a_report_that_breaks_off_is_no_report(proxy, openai, form: str, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "gptdock")
    monkeypatch.setattr("gptdock.ledger.store.PAGE", 20)
    monkeypatch.setattr("gptdock.admin.report_stream.CHUNK", 1000)
    async with running(make_settings(proxy.url, openai.url), openai) as service:
        await fill(service, 50)
        proxy.strike("pass", "pass", "break", operation="Query")  # the books, the first page, the second

        async with service.admin("GET", "client/usage", by="request", format=form) as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()

    [record] = [record for record in caplog.records if record.getMessage() == "report broken off"]
    assert record.levelno == logging.WARNING
    assert ended(caplog) == ("ledger_unavailable", 200)


def ended(caplog) -> tuple[str, int]:
    """Outcome and status on the line of the last report."""
    line = [record for record in caplog.records if getattr(record, "route", "") == "/v1/admin/client/usage"][-1]
    return line.outcome, line.status


async def test_an_operator_who_does_not_read_is_cut(serve, store, caplog):
    caplog.set_level(logging.INFO, "gptdock")
    receipt = Receipt("", 12, 5, 7, "u1", "m", "upstream", "x" * 300_000, "p", 1)
    async with serve(write_timeout=0.3) as service:
        await set_quota(service, 100)
        for number in range(40):  # 12 MB: more than the buffers of a connection take
            await store.put_receipts([(Account("c1", "p1"), "all", receipt._replace(key=f"2026-11-23T{number:02}"))])
        with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2]))) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with hearing("report not read to its end") as heard:
                path = f"/v1/admin/client/usage?{WHO}&by=request"
                deaf.sendall(request("GET", path, {"Authorization": f"Bearer {ADMIN_KEY}"}))

                async with asyncio.timeout(20):
                    await heard.wait()

        assert await overview(service)
    assert ended(caplog) == ("caller_left", 200)


@contextmanager
def hearing(message: str) -> Iterator[asyncio.Event]:
    """An event that is set once this is logged."""
    heard = asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == message:
                heard.set()

    logger, listener = logging.getLogger("gptdock.http.admin_routes"), Listener()
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)


async def test_while_it_drains_an_operator_is_served_like_anybody(serve):
    path = f"/v1/admin/client?{WHO}"
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with serve(drain_seconds=60) as service, connect(service) as kept, connect(service) as fresh:
        kept.send(request("GET", path, headers))
        assert await kept.fault() == UNKNOWN

        service.stop.set()
        kept.send(request("GET", path, headers))
        status, answered, body = await kept.answer()
        fresh.send(request("GET", path, headers))

        assert (read_fault(status, answered, body), answered["retry-after"]) == (Fault(503, "draining"), "1")
        assert await fresh.fault() == UNKNOWN
