"""A report as it is sent: JSON and CSV, in pieces."""

import asyncio
import json
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import ClassVar

import pytest

from gptdock.accounts import Account
from gptdock.admin import report_stream
from gptdock.admin.report_rows import COLUMNS, By
from gptdock.admin.report_stream import Report, as_csv, as_json, chunks, stream_rows
from gptdock.ledger.book import Receipt

RECEIPT = Receipt("2026-11-23T02:13:20.123Z#r1#p.1", 12, 5, 7, "u1", "model", "upstream", "complete", "p", 3)
ACCOUNT = Account('c"1', "p,1")
USERS = 20_000


async def receipts(count: int) -> AsyncIterator[tuple[str, Receipt]]:
    for number in range(count):
        yield "all", RECEIPT._replace(user=f"u{number % 3}")


async def text(pieces: AsyncIterator[str]) -> str:
    return "".join([chunk async for chunk in chunks(pieces)])


@pytest.mark.parametrize(("by", "rows"), [("day", 1), ("user", 3), ("request", 5000)])
async def test_a_report_is_one_json_object_with_its_total(by: By, rows: int):
    report = Report(ACCOUNT, "all", by)

    content = json.loads(await text(as_json(report, stream_rows(receipts(5000), by))))

    assert list(content) == ["client_id", "product_id", "period", "by", "rows", "tokens"]
    assert (content["client_id"], content["product_id"], content["by"]) == (*ACCOUNT, by)
    assert (len(content["rows"]), content["tokens"]) == (rows, 60_000)
    assert all(tuple(row) == COLUMNS[by] for row in content["rows"])


@pytest.mark.parametrize("by", ["day", "user", "request"])
async def test_a_report_of_nothing_has_no_rows(by: By):
    report = Report(ACCOUNT, "all", by)

    assert json.loads(await text(as_json(report, stream_rows(receipts(0), by))))["rows"] == []
    assert await text(as_csv(report, stream_rows(receipts(0), by))) == "\ufeff" + ",".join(COLUMNS[by]) + "\r\n"


async def test_a_report_sends_nothing_before_its_first_page_was_read():
    """So an error on the first page still gets a status."""
    report = Report(ACCOUNT, "all", "request")

    first = await anext(aiter(chunks(as_csv(report, stream_rows(receipts(5000), "request")))))

    assert len(first) >= report_stream.CHUNK


@pytest.mark.parametrize("by", ["day", "user", "request"])
async def test_memory_does_not_grow_with_the_report(by: By):
    report, peaks = Report(ACCOUNT, "all", by), []

    for count in (2_000, 40_000):
        tracemalloc.start()
        async for _ in chunks(as_json(report, stream_rows(receipts(count), by))):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] + report_stream.CHUNK


class User(str):
    """A user that counts how many are freed."""

    freed: ClassVar[int] = 0

    def __del__(self) -> None:
        User.freed += 1


class Turns:
    """Counts calls of functions, Python's and built-in ones, and users freed, in each turn of the loop."""

    def __init__(self) -> None:
        self._calls = self._freed = self.most_calls = self.most_freed = 0

    async def watch(self) -> None:
        while True:
            self._calls, self._freed = 0, User.freed
            await asyncio.sleep(0)
            self.most_calls = max(self.most_calls, self._calls)
            self.most_freed = max(self.most_freed, User.freed - self._freed)

    def count(self, frame: object, event: str, argument: object) -> None:
        self._calls += event in ("call", "c_call")


@pytest.mark.parametrize("write", [as_json, as_csv])
async def test_a_report_of_many_users_blocks_nobody(write: Callable[..., AsyncIterator[str]]):
    async def of_many_users() -> AsyncIterator[tuple[str, Receipt]]:
        for number in range(USERS):
            if number % 500 == 0:
                await asyncio.sleep(0)  # as after a page from DynamoDB
            yield "all", RECEIPT._replace(user=User(f"u{number * 7919 % USERS}"), tokens=number % 977)

    report, turns = Report(ACCOUNT, "all", "user"), Turns()
    watching = asyncio.create_task(turns.watch())
    sys.setprofile(turns.count)
    try:
        size = len(await text(write(report, stream_rows(of_many_users(), "user"))))
        await asyncio.sleep(0)  # so that the last turn counts
    finally:
        sys.setprofile(None)
        watching.cancel()

    assert size > 10 * USERS
    assert USERS / 10 < turns.most_calls < USERS * 2  # a piece of CSV has 1,000 rows
    assert 0 < turns.most_freed < USERS / 4
