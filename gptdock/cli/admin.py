"""The commands of an operator, `client` and `usage`: what the admin routes do, straight on DynamoDB.

Tables are for people; `--json` is what the routes answer.
"""

import argparse
import json
import os
import pwd
import re
import sys
import uuid
from collections.abc import AsyncIterator
from io import TextIOWrapper
from typing import Any

from gptdock import accounts
from gptdock.accounts import Account
from gptdock.admin import clients, reports, usage
from gptdock.admin.clients import MOST_TOKENS, Clients, Operator, Overview
from gptdock.admin.usage import Report
from gptdock.cli.console import Table, counted
from gptdock.errors import InvalidRequest
from gptdock.ledger import periods
from gptdock.ledger.book import Client
from gptdock.ledger.store import Store
from gptdock.settings import Settings

_CLIENT = "client:<20 product:<20 {}"


def add_to(commands: Any) -> None:
    """Add the commands to the parser's own."""
    client = commands.add_parser("client", help="list clients, show one, set its quota, reset its period")
    verbs = client.add_subparsers(dest="verb", required=True)
    _verb(verbs, "list", "list all clients", whose=False)
    _verb(verbs, "show", "show a client and its books")
    set_quota = _verb(verbs, "set-quota", "set the standing quota, of the running period too; a new client is made")
    set_quota.add_argument("max_quota", metavar="TOKENS", type=_tokens)
    _verb(verbs, "reset", "let the running period start anew, with 0 used")
    report = _verb(commands, "usage", "report what a client used", forms=("json", "csv"))
    report.add_argument("--period", metavar="P", type=_period, help="all, 2026-11 or 2026-11-23; else the running one")
    report.add_argument("--by", choices=list(reports.COLUMNS), default="day")


def _verb(
    commands: Any, name: str, what: str, *, whose: bool = True, forms: tuple[str, ...] = ("json",)
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=what)
    if whose:
        parser.add_argument("client_id", metavar="CLIENT", type=identity)
        parser.add_argument("product_id", metavar="PRODUCT", type=identity)
    group = parser.add_mutually_exclusive_group()
    for form in forms:
        group.add_argument(f"--{form}", action="store_true", help=f"{form.upper()} instead of a table")
    return parser


async def run(parsed: argparse.Namespace, settings: Settings, sudo_user: str | None) -> int:
    """Do what was parsed; `sudo_user` is who ran it, if by sudo. Raises ClientNotFound, LedgerUnavailable."""
    async with Store.connected(settings) as store:
        known = Clients(store, settings)
        if parsed.command == "usage":
            await _usage(known, parsed)
        elif parsed.verb == "list":
            await _list(known.all(), as_json=parsed.json)
        else:
            operator = Operator(f"cli:{sudo_user or _user()}", uuid.uuid4().hex)
            _show(await _overview(known, parsed, operator), as_json=parsed.json)
    return 0


async def _overview(known: Clients, parsed: argparse.Namespace, operator: Operator) -> Overview:
    account = Account(parsed.client_id, parsed.product_id)
    if parsed.verb == "show":
        return await known.look(account)
    if parsed.verb == "reset":
        return await known.reset(account, operator)
    return await known.set_quota(account, parsed.max_quota, operator)


async def _list(found: AsyncIterator[Client], *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps({"clients": [clients.to_json(client) async for client in counted(found)], "next_cursor": None})
        )
        return
    table = Table(_CLIENT.format("max:>16 created:<24"))
    async for client in found:
        table.row(*client.account, client.max_quota, client.created_at)


def _show(overview: Overview, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(overview.to_json()))
        return
    client, books = overview
    Table(_CLIENT.format("max:>16 created:<24")).row(*client.account, client.max_quota, client.created_at)
    print()
    table = Table("period:<10 max:>16 left:>16 held:>12 used:>12 resets:<20")
    for period, book in books:
        table.row(period, book.max, book.left, book.held, book.used, periods.resets_at(period) or "never")


async def _usage(known: Clients, parsed: argparse.Namespace) -> None:
    account = Account(parsed.client_id, parsed.product_id)
    await known.look(account)
    report = Report(account, parsed.period or known.period(), parsed.by)
    receipts = known.receipts(account, report.period)
    shown_at_once = report.by == "request" and sys.stdout.isatty()  # a count would be written between the rows
    found = usage.rows(receipts if shown_at_once else counted(receipts), report.by)
    if parsed.csv or parsed.json:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # for programs, whatever the terminal can show
        pieces = usage.as_csv(report, found) if parsed.csv else usage.as_json(report, found)
        async for chunk in usage.chunks(pieces):
            sys.stdout.write(chunk)
        sys.stdout.write("\n" if parsed.json else "")
        return
    await _print(report, found)


async def _print(report: Report, rows: AsyncIterator[reports.Row]) -> None:
    numbers = " prompt:>12 completion:>12 tokens:>12"
    heads = {"day": "day:<10 requests:>10", "user": "user:<24 requests:>10"}
    heads["request"] = "time:<24 request:<32 user:<20 model:<20 source:<10 outcome:<20"
    table, total = Table(heads[report.by] + numbers), 0
    async for row in rows:
        table.row(*row)
        total += row[-1]
    print(f"{total} tokens in {report.period}")


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container that runs as any number
        return str(os.getuid())


def identity(text: str) -> str:
    """An id as the API takes it, for argparse; raises its ArgumentTypeError."""
    try:
        return accounts.identity(text, "it")
    except InvalidRequest as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _tokens(text: str) -> int:
    if not re.fullmatch("[0-9]{1,16}", text) or int(text) > MOST_TOKENS:
        raise argparse.ArgumentTypeError(f"it must be an integer from 0 to {MOST_TOKENS}")
    return int(text)


def _period(text: str) -> str:
    if not periods.is_period(text):
        raise argparse.ArgumentTypeError("it must be all, a month like 2026-11 or a day like 2026-11-23")
    return text
