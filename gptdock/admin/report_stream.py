"""A client's receipts as a report: row by row, and piece by piece of JSON or CSV.

Memory stays flat but for the sums of a report by user, of which there is one a user; nor does that block the loop.
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

CHUNK = 65_536  # characters that go out at once; rows enough that a page was read before the first


class Report(NamedTuple):
    """What is asked: whose receipts, those of which time (`all`, a month, a day), and what a row is."""

    account: Account
    period: str
    by: By

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of a row's cells."""
        return report_rows.COLUMNS[self.by]


async def stream_rows(receipts: AsyncIterator[tuple[str, Receipt]], by: By) -> AsyncIterator[Row]:
    """The rows that these receipts, each with its period, make."""
    sums = report_rows.Sums(by)
    async for period, receipt in receipts:
        if by == "request":
            yield report_rows.row(receipt)
        else:
            sums.add(period, receipt)
    runs = []
    for run in sums.runs():
        runs.append(run)
        await asyncio.sleep(0)
    for row in heapq.merge(*map(_drained, runs), key=sums.place):
        yield row


def _drained(run: list[Row]) -> Iterator[Row]:
    """The same rows, each let go when it is given: to free 100,000 at once takes as long as to write 2,000."""
    run.reverse()
    while run:
        yield run.pop()


async def as_json(report: Report, rows: AsyncIterator[Row]) -> AsyncIterator[str]:
    """The report as a JSON object; its total comes last, since it is known last."""
    account = report.account._asdict()
    yield json.dumps({**account, "period": report.period, "by": report.by})[:-1] + ', "rows": ['
    total, comma = 0, ""
    async for row in rows:
        total += row[-1]
        yield comma + json.dumps(dict(zip(report.columns, row, strict=True)))
        comma = ", "
    yield f'], "tokens": {total}}}'


async def as_csv(report: Report, rows: AsyncIterator[Row]) -> AsyncIterator[str]:
    """The report as CSV: a head, and a line for each row."""
    yield report_rows.csv_line(report.columns)
    async for row in rows:
        yield report_rows.csv_line(row)


async def chunks(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """The same text in fewer pieces."""
    waiting, size = [], 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield "".join(waiting)
            waiting, size = [], 0
            await asyncio.sleep(0)  # sums are all here already: nothing else would let others have their turn
    yield "".join(waiting)
