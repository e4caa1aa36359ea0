"""What the command `usage` does and prints: a report of what was used, from the receipts."""

import argparse
import sys
from collections.abc import AsyncIterator

from gptdock.admin import report_rows
from gptdock.admin.clients import Clients
from gptdock.admin.report_rows import OF_ALL, OF_ONE, Row
from gptdock.admin.report_stream import Report, ReportOnAll, as_csv, as_json, chunks, stream_rows
from gptdock.cli.clients import account_of
from gptdock.cli.console import Table, counted, for_programs
from gptdock.errors import SettingsError

_NUMBERS = " prompt:>12 completion:>12 tokens:>12 cached:>12 reasoning:>12"
_HEADS: dict[report_rows.By, str] = {
    "day": "day:<10 requests:>10",
    "user": "user:<24 requests:>10",
    "model": "model:<24 requests:>10",
    "client": "client:<20 product:<20 requests:>10",
    "request": "time:<24 request:<32 user:<20 model:<20 source:<10 outcome:<20",
}


async def usage(clients: Clients, parsed: argparse.Namespace) -> None:
    """Report what one client used, or all."""
    if parsed.all:
        await _print(*_on_all(clients, parsed), parsed.form)
        return
    account = account_of(parsed)
    await clients.look(account)
    report = Report(account, parsed.period or clients.period(), parsed.by or "day")
    receipts = clients.receipts(account, report.period)
    shown_at_once = report.by == "request" and sys.stdout.isatty()  # a progress count would be written between the rows
    found = stream_rows(receipts if shown_at_once else counted(receipts), report.by)
    await _print(report, found, parsed.form)


def _on_all(clients: Clients, parsed: argparse.Namespace) -> tuple[ReportOnAll, AsyncIterator[Row]]:
    since, until = clients.this_month()
    report = ReportOnAll(parsed.since or since, parsed.until or until, parsed.by or "client")
    if report.since > report.until:
        raise SettingsError(f"the first day, {report.since}, is after the last, {report.until}")
    return report, stream_rows(counted(clients.receipts_of_all(report.since, report.until)), report.by)


def refuse_contradictions(parsed: argparse.Namespace) -> None:
    """Exit with 2 if the arguments contradict each other."""
    if parsed.all == (parsed.client_id is not None) or (parsed.client_id is None) != (parsed.product_id is None):
        parsed.refuse("name a client and a product, or --all")
    if parsed.by and parsed.by not in (OF_ALL if parsed.all else OF_ONE):
        parsed.refuse(f"--by {parsed.by} is for {'one client' if parsed.all else 'all'} only")
    if parsed.period if parsed.all else parsed.since or parsed.until:
        parsed.refuse("--period is for one client, --from and --to are for all")
    if parsed.since and parsed.until and parsed.since > parsed.until:
        parsed.refuse(f"--from {parsed.since} is after --to {parsed.until}")


async def _print(report: Report | ReportOnAll, found: AsyncIterator[Row], form: str) -> None:
    if form == "table":
        await _print_table(report, found)
        return
    for_programs()
    async for chunk in chunks(as_csv(report, found) if form == "csv" else as_json(report, found)):
        sys.stdout.write(chunk)
    sys.stdout.write("\n" if form == "json" else "")


async def _print_table(report: Report | ReportOnAll, rows: AsyncIterator[Row]) -> None:
    table, total = Table(_HEADS[report.by] + _NUMBERS), 0
    async for row in rows:
        table.row(*row)
        total += report_rows.tokens(row)
    print(f"{total} tokens in {report.days}")
