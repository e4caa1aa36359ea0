"""Reports of what a client used, whole or broken off."""

import asyncio
import csv
import hashlib
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from gptdock.accounts import Account
from gptdock.ledger.book import Lease, Receipt, Write
from tests.harness.hostile import Fault, connect, fault_of, request
from tests.harness.operator import overview, read, set_quota
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import ADMIN_KEY, make_settings, running

WHO = "client_id=c1&product_id=p1"


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


async def test_a_report_with_bad_parameters_is_refused(service):
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
        data = await response.read()

    text = data.decode("utf-8-sig")
    assert data.startswith(b"\xef\xbb\xbf")  # otherwise a spreadsheet garbles other scripts
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
async def test_a_report_that_breaks_off_does_not_look_complete(proxy, openai, form: str, monkeypatch, caplog):
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

                async with asyncio.timeout(PATIENCE_SECONDS):
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


@pytest.mark.parametrize("form", ["csv", "json"])
async def test_a_report_ends_once_wherever_its_last_chunk_ends(service, form: str, monkeypatch: pytest.MonkeyPatch):
    """What is read next on the connection is the next answer."""
    monkeypatch.setattr("gptdock.admin.report_stream.CHUNK", 1)
    async with service.ask() as response:
        await response.read()
    await service.ledger.settled()
    key = {"Authorization": f"Bearer {ADMIN_KEY}"}

    async with connect(service) as connection:
        connection.send(request("GET", f"/v1/admin/client/usage?{WHO}&by=request&format={form}", key))
        await connection.reader.readuntil(b"\r\n0\r\n\r\n")
        connection.send(request("GET", "/v1/health"))

        assert (await connection.reader.readline()).startswith(b"HTTP/1.1 200")
