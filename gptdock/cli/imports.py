"""The command `import`: brings clients over from the service that GPTDock replaces, or from a file."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from gptdock.admin import import_rows, in_force
from gptdock.admin.import_rows import Brought, Rows
from gptdock.admin.importing import Import
from gptdock.cli.commands import configured_for_operators
from gptdock.cli.console import counted, operator, tell
from gptdock.errors import SettingsError
from gptdock.ledger import periods, scans
from gptdock.ledger.store import Store
from gptdock.settings import Settings


def add_to(subparsers: Any) -> None:
    """Add `import` to the subparsers of `gptdock`."""
    parser = subparsers.add_parser("import", help="bring clients over from the service before, or from a CSV file")
    parser.add_argument("file", metavar="CSV", nargs="?", type=Path, help="client_id,product_id,max_quota[,used]")
    parser.add_argument("--clients", metavar="TABLE", default="gpt_dock_client_data", help="without a file")
    parser.add_argument("--users", metavar="TABLE", default="gpt_dock_user_data", help="without a file")
    parser.add_argument("--dry-run", action="store_true", help="read and sum, and write nothing")
    parser.add_argument("--rate", metavar="N", type=_rate, default=500, help="write units a second (default: 500)")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Import and compare both sides; 1 if a row could not be read, or the sides differ.

    Raises SettingsError, LedgerUnavailable, OSError.
    """
    settings = configured_for_operators(environ, log_level="WARNING")
    return asyncio.run(_import(settings, parsed, operator(environ)))


async def _import(settings: Settings, parsed: argparse.Namespace, name: str) -> int:
    async with Store.connected(settings) as store:
        await in_force.check(store, settings.quota_period)
        rows = await _rows(store, parsed)
        for line in rows.unreadable:
            tell(f"not readable: {line}")
        _show("to import", rows.clients)
        if parsed.dry_run:
            return 1 if rows.unreadable else 0
        await store.ping()  # for the time
        bringing = Import(store, periods.current(settings.quota_period, store.clock()), name, parsed.rate)
        new = sum([is_new async for is_new in counted(_each(bringing, rows.clients), len(rows.clients))])
        print(f"{new:,} imported now, {len(rows.clients) - new:,} before")
        return 1 if await _differ(store, bringing, rows.clients) or rows.unreadable else 0


async def _rows(store: Store, parsed: argparse.Namespace) -> Rows:
    if parsed.file:
        return import_rows.of_csv(_text(await asyncio.to_thread(parsed.file.read_bytes), parsed.file))
    clients = [row async for row in counted(scans.rows(store, parsed.clients))]
    return import_rows.of_tables(clients, [row async for row in counted(scans.rows(store, parsed.users))])


def _text(content: bytes, file: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise SettingsError(f"{file} must be UTF-8; its byte {exc.start} is not") from exc


async def _each(bringing: Import, clients: list[Brought]) -> AsyncIterator[bool]:
    for client in clients:
        yield await bringing.bring(client)


async def _differ(store: Store, bringing: Import, clients: list[Brought]) -> bool:
    """Whether a client has another maximum or use here than there; prints both sides, and each that differs."""
    here = [each async for each in counted(_all_ours(store, bringing, clients), len(clients))]
    for there, ours in zip(clients, here, strict=True):
        if (ours.max, ours.used) != (there.max, there.used):
            who = " ".join(there.account)
            tell(f"differs: {who}: max {there.max}, used {there.used} there; max {ours.max}, used {ours.used} here")
    _show("there", clients)
    _show("here", here)
    return [(each.max, each.used) for each in here] != [(each.max, each.used) for each in clients]


async def _all_ours(store: Store, bringing: Import, clients: list[Brought]) -> AsyncIterator[Brought]:
    for account in (each.account for each in clients):
        client, used = await store.client(account), await bringing.imported(account)
        yield Brought(account, client.max_quota if client else 0, used or 0)


def _show(where: str, clients: list[Brought]) -> None:
    count, most, used = import_rows.sums(clients)
    print(f"{where}: {count:,} clients, {most:,} tokens at most, {used:,} used")
    sys.stdout.flush()


def _rate(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError("it must be an integer from 1 to 1000000")
    return int(text)
