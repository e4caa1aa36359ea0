"""Receipts as a stream of report rows, and the rows as a stream of JSON or CSV.

Memory does not grow with the number of receipts, only, in a report by user, with the number of users. The event loop is
never blocked.
"""

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from gptdock.accounts import Account
from gptdock.admin import report_rows
from gptdock.admin.report_rows import By, Row
from gptdock.ledger.book import Receipt

CHUNK = 16_384  # characters sent at once; the first come after a page was read, so its error has a status


class Report(NamedTuple):
    """A report to make: the client, the period (`all`, a month or a day), and what each row stands for."""

    account: Account
    period: str
    by: By

    @property
    def head(self) -> dict[str, str]:
        """What its JSON begins with."""
        return {**self.account._asdict(), "period": self.period, "by": self.by}

    @property
    def days(self) -> str:
        return self.period


class ReportOnAll(NamedTuple):
    """A report to make on all clients, for the days from `since` to `until`, both included."""

    since: str
    until: str
    by: By

    @property
    def head(self) -> dict[str, str]:
        """What its JSON begins with."""
        return {"from": self.since, "to": self.until, "by": self.by}

    @property
    def days(self) -> str:
        return f"{self.since} to {self.until}"


async def stream_rows(
    receipts: AsyncIterator[tuple[str, Receipt]] | AsyncIterator[tuple[str, Receipt, Account]], by: By
) -> AsyncIterator[Row]:
    """The rows of a report on these receipts, each given with its period and, on all clients, with its account."""
    sums = report_rows.Sums(by)
    async for period, receipt, *account in receipts:
        if by == "request":
            yield report_rows.row(receipt)
        else:
            sums.add(period, receipt, *account)
    runs = []
    for run in sums.runs():
        runs.append(run)
        await asyncio.sleep(0)
    for row in heapq.merge(*map(_drained, runs), key=sums.place):
        yield row


def _drained(run: list[Row]) -> Iterator[Row]:
    """The same rows, freed one by one: freeing 100,000 at once takes as long as writing 2,000."""
    run.reverse()
    while run:
        yield run.pop()


async def as_json(report: Report | ReportOnAll, rows: AsyncIterator[Row]) -> AsyncIterator[str]:
    """The report as one JSON object. `tokens`, its total, comes last because it is known last."""
    yield json.dumps(report.head)[:-1] + ', "rows": ['
    total, comma, columns = 0, "", report_rows.COLUMNS[report.by]
    async for row in rows:
        total += report_rows.tokens(row)
        yield comma + json.dumps(dict(zip(columns, row, strict=True)))
        comma = ", "
    yield f'], "tokens": {total}}}'


async def as_csv(report: Report | ReportOnAll, rows: AsyncIterator[Row]) -> AsyncIterator[str]:
    """The report as CSV for spreadsheets: a byte order mark, a line of column names, then a line for each row."""
    columns = report_rows.COLUMNS[report.by]
    yield "\ufeff" + report_rows.csv_line(columns)
    async for row in rows:
        yield report_rows.csv_line(row, columns)


async def chunks(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """The same text in pieces of CHUNK characters or more, except the last."""
    waiting, size = [], 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield "".join(waiting)
            waiting, size = [], 0
            await asyncio.sleep(0)  # the sums are in memory: no other await lets the loop go on
    yield "".join(waiting)
