"""The command `audit`: a line for each book, and one that says whether all balance."""

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping

from gptdock.admin import report_rows
from gptdock.admin.audit import Finding, audit
from gptdock.cli.commands import configured_for_operators
from gptdock.cli.console import Table, tell
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from gptdock.settings import Settings

_COLUMNS = "client:<20 product:<20 period:<10 max:>12 left:>12 held:>10 used:>12 receipts:>12 drift:>8 fault:<10"
_NAMES = tuple(column.partition(":")[0] for column in _COLUMNS.split())


def run(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print a line per book, or only those that do not balance; 1 if there is one, or if the client has no book.

    Raises SettingsError, LedgerUnavailable.
    """
    return asyncio.run(_audit(configured_for_operators(environ), parsed))


async def _audit(settings: Settings, parsed: argparse.Namespace) -> int:
    counts: Counter[str] = Counter()
    async with Store.connected(settings) as store:
        found = _counted(audit(store, Sweeper.of(store, None, settings), parsed.client), counts)
        shown = (finding async for finding in found if not (parsed.only_drift and finding.balances))
        await _print(shown, parsed.form)
    (print if parsed.form == "table" else tell)(_sentence(counts))
    return 0 if counts["books"] == counts["balance"] and (counts["books"] or parsed.client is None) else 1


async def _counted(found: AsyncIterator[Finding], counts: Counter[str]) -> AsyncIterator[Finding]:
    async for finding in found:
        counts += Counter(books=1, balance=int(finding.balances), busy=int(finding.busy))
        yield finding


def _sentence(counts: Counter[str]) -> str:
    wrong = counts["books"] - counts["balance"]
    what = f"{wrong:,} do not balance" if wrong else "all balance"
    busy = f"; {counts['busy']:,} changed while they were read" if counts["busy"] else ""
    return f"{counts['books']:,} book{'' if counts['books'] == 1 else 's'}, {what}{busy}"


async def _print(findings: AsyncIterator[Finding], form: str) -> None:
    if form == "json":
        print(json.dumps({"books": [dict(zip(_NAMES, _cells(each), strict=True)) async for each in findings]}))
    elif form == "csv":
        print("\ufeff" + report_rows.csv_line(_NAMES), end="")
        async for finding in findings:
            print(report_rows.csv_line(_cells(finding)), end="")
    else:
        table = Table(_COLUMNS)
        async for finding in findings:
            table.row(*_cells(finding))


def _cells(finding: Finding) -> tuple[int | str, ...]:
    book, drift = finding.book, "busy" if finding.busy else finding.drift
    receipts = "expired" if finding.expired else finding.receipts
    numbers = (book.max, book.left, book.held, book.used, receipts, drift)
    return (*finding.account, finding.period, *numbers, finding.fault)
