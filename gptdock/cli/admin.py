"""The operator's commands `client` and `usage`: the work of the admin routes, done directly on DynamoDB.

They print tables, or with `--json` the same JSON as the routes.
"""

import argparse
import asyncio
import json
import os
import pwd
import re
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from io import TextIOWrapper
from typing import Any

from gptdock import accounts
from gptdock.accounts import Account
from gptdock.admin import in_force, report_rows
from gptdock.admin.clients import Clients, Operator, Overview, to_json
from gptdock.admin.report_stream import Report, as_csv, as_json, chunks, stream_rows
from gptdock.cli.commands import configured
from gptdock.cli.console import Table, counted
from gptdock.errors import InvalidRequest, SettingsError
from gptdock.ledger import periods
from gptdock.ledger.store import Store
from gptdock.settings import MOST_QUOTA_TOKENS, Settings

Act = Callable[[Clients, argparse.Namespace], Awaitable[None]]

_CLIENT = "client:<20 product:<20 {}"


def add_to(subparsers: Any) -> None:
    """Add `client` and `usage` to the subparsers of `gptdock`; each sets `run`."""
    client = subparsers.add_parser("client", help="list clients, show one, set its quota, reset its period")
    actions = client.add_subparsers(dest="action", required=True)
    _add(actions, "list", _list, "list all clients", one_client=False)
    _add(actions, "show", _show, "show a client and its books")
    set_quota = _add(actions, "set-quota", _set_quota, "set the quota, also of the running period; create a new client")
    set_quota.add_argument("max_quota", metavar="TOKENS", type=_tokens)
    reset = _add(actions, "reset", _reset, "restart the running period with 0 used")
    for action in (set_quota, reset):
        action.set_defaults(changes_running_period=True)
    ended = _add(actions, "release", _release, "end what a process that died still holds; takes a minute, to be sure")
    ended.add_argument("--process", metavar="ID", required=True, help="as `show` names it")
    usage = _add(subparsers, "usage", _usage, "report what a client used", forms=("json", "csv"))
    usage.add_argument("--period", metavar="P", type=_period, help="all, 2026-11 or 2026-11-23 (default: running one)")
    usage.add_argument("--by", choices=list(report_rows.COLUMNS), default="day")


def _add(
    subparsers: Any, name: str, act: Act, what: str, *, one_client: bool = True, forms: tuple[str, ...] = ("json",)
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=what)
    parser.set_defaults(run=_run, act=act, changes_running_period=False)
    if one_client:
        parser.add_argument("client_id", metavar="CLIENT", type=identity)
        parser.add_argument("product_id", metavar="PRODUCT", type=identity)
    group = parser.add_mutually_exclusive_group()
    for form in forms:
        group.add_argument(f"--{form}", action="store_true", help=f"{form.upper()} instead of a table")
    return parser


def _run(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    settings = configured(environ, log_level="WARNING")  # stdout shows the change
    parsed.operator = Operator(f"cli:{environ.get('SUDO_USER') or _user()}", uuid.uuid4().hex)
    asyncio.run(_act(parsed, settings))
    return 0


async def _act(parsed: argparse.Namespace, settings: Settings) -> None:
    async with Store.connected(settings) as store:
        try:
            await in_force.check(store, settings.quota_period)
        except SettingsError as exc:
            if parsed.changes_running_period:
                raise
            sys.stderr.write(f"gptdock: {exc}\n")
        await parsed.act(Clients(store, settings), parsed)


def _account(parsed: argparse.Namespace) -> Account:
    return Account(parsed.client_id, parsed.product_id)


async def _show(clients: Clients, parsed: argparse.Namespace) -> None:
    _print_client(await clients.look(_account(parsed)), in_json=parsed.json)


async def _set_quota(clients: Clients, parsed: argparse.Namespace) -> None:
    overview = await clients.set_quota(_account(parsed), parsed.max_quota, parsed.operator)
    _print_client(overview, in_json=parsed.json)


async def _reset(clients: Clients, parsed: argparse.Namespace) -> None:
    _print_client(await clients.reset(_account(parsed), parsed.operator), in_json=parsed.json)


async def _release(clients: Clients, parsed: argparse.Namespace) -> None:
    account = _account(parsed)
    await clients.look(account)  # what has expired needs no patience
    await clients.release(account, parsed.process, parsed.operator)
    _print_client(await clients.look(account), in_json=parsed.json)


async def _list(clients: Clients, parsed: argparse.Namespace) -> None:
    if parsed.json:
        shown = [to_json(client) async for client in counted(clients.all())]
        print(json.dumps({"clients": shown, "next_cursor": None}))
        return
    table = Table(_CLIENT.format("max:>16 created:<24"))
    async for client in clients.all():
        table.row(*client.account, client.max_quota, client.created_at)


def _print_client(overview: Overview, *, in_json: bool) -> None:
    if in_json:
        print(json.dumps(overview.to_json()))
        return
    client, books = overview
    Table(_CLIENT.format("max:>16 created:<24")).row(*client.account, client.max_quota, client.created_at)
    print()
    table = Table("period:<10 max:>16 left:>16 held:>12 used:>12 resets:<20")
    for period, book in books:
        table.row(period, book.max, book.left, book.held, book.used, periods.resets_at(period) or "never")
    leases = [(period, *each) for period, book in books for each in book.leases.items() if each[1].held]
    if leases:
        print()
        table = Table("process:<14 period:<10 held:>12 will:>12 expires:<24")
        for period, process, lease in leases:
            table.row(process, period, lease.held, lease.will, periods.moment(lease.expires_at))


async def _usage(clients: Clients, parsed: argparse.Namespace) -> None:
    account = _account(parsed)
    await clients.look(account)
    report = Report(account, parsed.period or clients.period(), parsed.by)
    receipts = clients.receipts(account, report.period)
    shown_at_once = report.by == "request" and sys.stdout.isatty()  # a progress count would be written between the rows
    found = stream_rows(receipts if shown_at_once else counted(receipts), report.by)
    if parsed.csv or parsed.json:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # for programs, whatever encoding the terminal has
        pieces = as_csv(report, found) if parsed.csv else as_json(report, found)
        async for chunk in chunks(pieces):
            sys.stdout.write(chunk)
        sys.stdout.write("\n" if parsed.json else "")
        return
    await _print_report(report, found)


async def _print_report(report: Report, rows: AsyncIterator[report_rows.Row]) -> None:
    numbers = " prompt:>12 completion:>12 tokens:>12 cached:>12 reasoning:>12"
    heads = {"day": "day:<10 requests:>10", "user": "user:<24 requests:>10"}
    heads["request"] = "time:<24 request:<32 user:<20 model:<20 source:<10 outcome:<20"
    table, total = Table(heads[report.by] + numbers), 0
    async for row in rows:
        table.row(*row)
        total += report_rows.tokens(row)
    print(f"{total} tokens in {report.period}")


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a uid without an entry in /etc/passwd, as in some containers
        return str(os.getuid())


def identity(text: str) -> str:
    """The id, checked as the API does, for argparse. Raises ArgumentTypeError."""
    try:
        return accounts.identity(text, "it")
    except InvalidRequest as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _tokens(text: str) -> int:
    if not re.fullmatch("[0-9]{1,16}", text) or int(text) > MOST_QUOTA_TOKENS:
        raise argparse.ArgumentTypeError(f"it must be an integer from 0 to {MOST_QUOTA_TOKENS}")
    return int(text)


def _period(text: str) -> str:
    if not periods.is_period(text):
        raise argparse.ArgumentTypeError("it must be all, a month like 2026-11 or a day like 2026-11-23")
    return text
