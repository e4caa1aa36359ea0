"""What the commands `client ...` do and print: the work of the admin routes, done directly on DynamoDB."""

import argparse
import json
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Any

from gptdock import moments
from gptdock.accounts import Account
from gptdock.admin import report_rows
from gptdock.admin.changes import Credit
from gptdock.admin.clients import Clients, Overview, book_to_json, fullest, spent_to_json, to_json
from gptdock.admin.forgetting import Forgotten
from gptdock.cli.console import Table, agreed, counted, for_programs, tell
from gptdock.ledger import periods

_CLIENT = "client:<20 product:<20 max:>16 created:<24"
_NEAR = ("client_id", "product_id", "quota_used", "quota_held", "quota_left", "max_quota", "percent")
_BOOK = ("client_id", "product_id", "period", "quota_used", "quota_held", "quota_left", "max_quota", "resets_at")
_COLUMNS = ("client_id", "product_id", "max_quota", "created_at", "follows_default")


async def list_all(clients: Clients, parsed: argparse.Namespace) -> None:
    """Print every client, or those whose ids contain a text, or those who are near their limit."""
    if parsed.near is not None:
        await _list_near(clients, parsed)
    elif parsed.form == "json":
        shown = [to_json(client) async for client in counted(clients.find(parsed.text))]
        print(json.dumps({"clients": shown, "next_cursor": None}))
    elif parsed.form == "csv":
        await _print_csv(_COLUMNS, counted(to_json(client) async for client in clients.find(parsed.text)))
    else:
        table = Table(_CLIENT)
        async for client in clients.find(parsed.text):
            table.row(*client.account, client.max_quota, client.created_at)


async def _list_near(clients: Clients, parsed: argparse.Namespace) -> None:
    found = await fullest(counted(clients.spent()), parsed.near, parsed.limit or sys.maxsize)
    shown = map(spent_to_json, found)
    if parsed.prometheus:
        _print_exposition(shown)
    elif parsed.form == "json":
        print(json.dumps({"period": clients.period(), "clients": [*shown]}))
    elif parsed.form == "csv":
        await _print_csv(_NEAR, _each(shown))
    else:
        table = Table("client:<20 product:<20 used:>16 held:>12 left:>16 max:>16 percent:>8")
        for each in shown:
            table.row(*each.values())


async def show(clients: Clients, parsed: argparse.Namespace) -> None:
    await _print_client(await clients.look(account_of(parsed)), parsed.form)


async def set_quota(clients: Clients, parsed: argparse.Namespace) -> None:
    """Set it; say so where that makes a client."""
    account = account_of(parsed)
    is_new = not await clients.knows(account)
    overview = await clients.set_quota(account, parsed.max_quota, parsed.operator, existing=parsed.existing)
    if is_new:
        tell(f"{account.client_id} {account.product_id} is a new client")
    await _print_client(overview, parsed.form)


async def set_default(clients: Clients, parsed: argparse.Namespace) -> None:
    await _print_client(await clients.set_default(account_of(parsed), parsed.operator), parsed.form)


async def credit(clients: Clients, parsed: argparse.Namespace) -> None:
    given = Credit(parsed.tokens, parsed.reason, parsed.id)
    await _print_client(await clients.credit(account_of(parsed), given, parsed.operator), parsed.form)


async def reset(clients: Clients, parsed: argparse.Namespace) -> int:
    """Say what it would give back, and do it if that is agreed to; otherwise 1."""
    account, period = account_of(parsed), clients.period()
    books = dict((await clients.look(account)).books)
    used = books[period].used if period in books else 0
    named = f"{account.client_id} {account.product_id}"
    if not parsed.yes and not agreed(f"This gives back the {used:,} tokens that {named} used in {period}."):
        tell("nothing was reset; it needs an answer, or --yes")
        return 1
    await _print_client(await clients.reset(account, parsed.operator), parsed.form)
    return 0


async def release(clients: Clients, parsed: argparse.Namespace) -> None:
    """End what a dead process holds."""
    account = account_of(parsed)
    await clients.look(account)  # what has expired needs no patience
    await clients.release(account, parsed.process, parsed.operator)
    await _print_client(await clients.look(account), parsed.form)


async def forget(clients: Clients, parsed: argparse.Namespace) -> int:
    """Say what it would change, and do it if that is agreed to; 1 if something is left under the id."""
    forgetting = clients.forgetting(parsed.operator)
    act, whom = (forgetting.client, parsed.client) if parsed.client else (forgetting.user, parsed.user)
    if parsed.dry_run or not parsed.yes:
        planned = await act(whom, dry_run=True)
        if parsed.dry_run:
            await _print_forgotten(planned, parsed.form)
            return 0
        many = f"{planned.books:,} books and {planned.receipts:,} receipts of {whom}"
        if not agreed(f"This puts {planned.pseudonym} in {many}, and cannot be undone."):
            tell("nothing was forgotten; it needs an answer, or --yes")
            return 1
    done = await act(whom)
    await _print_forgotten(done, parsed.form)
    if not done.done:
        tell(f"not done yet: {done.leases} leases of running processes are in the way; repeat it in some minutes")
    return 0 if done.done else 1


async def _print_forgotten(forgotten: Forgotten, form: str) -> None:
    if form == "json":
        print(json.dumps(forgotten.to_json()))
        return
    if form == "csv":
        await _print_csv(Forgotten._fields, _each([forgotten.to_json()]))
        return
    table = Table("pseudonym:<42 books:>8 receipts:>12 leases:>8 done:<5")
    table.row(*forgotten[:-1], "yes" if forgotten.done else "no")


def account_of(parsed: argparse.Namespace) -> Account:
    """The client that the arguments name."""
    return Account(parsed.client_id, parsed.product_id)


def _print_exposition(near: Iterable[dict[str, Any]]) -> None:
    """Print the shares as Prometheus reads them: in a label, a backslash, a quote and a new line are escaped."""
    for_programs()
    print("# TYPE gptdock_client_quota_percent gauge")
    for each in near:
        client, product = (each[name].replace("\\", r"\\").replace('"', r"\"") for name in ("client_id", "product_id"))
        labels = f'client="{client}",product="{product}"'
        print(f"gptdock_client_quota_percent{{{labels}}} {each['percent']}")


async def _each(rows: Iterable[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    for row in rows:
        yield row


async def _print_csv(columns: tuple[str, ...], rows: AsyncIterator[dict[str, Any]]) -> None:
    for_programs()
    print("\ufeff" + report_rows.csv_line(columns), end="")
    async for row in rows:
        print(report_rows.csv_line(tuple(row.values()), columns), end="")


async def _print_client(overview: Overview, form: str) -> None:
    if form == "json":
        print(json.dumps(overview.to_json()))
    elif form == "csv":
        account = overview.client.account._asdict()
        await _print_csv(_BOOK, _each({**account, **book_to_json(*book)} for book in overview.books))
    else:
        _show_client(overview)


def _show_client(overview: Overview) -> None:
    client, books = overview
    Table(_CLIENT).row(*client.account, client.max_quota, client.created_at)
    print()
    table = Table("period:<10 max:>16 left:>16 held:>12 used:>12 resets:<20")
    for period, book in books:
        table.row(period, book.max, book.left, book.held, book.used, periods.resets_at(period) or "never")
    leases = [(period, *each) for period, book in books for each in book.leases.items() if each[1].held]
    if leases:
        print()
        table = Table("process:<14 period:<10 held:>12 will:>12 expires:<24")
        for period, process, lease in leases:
            table.row(process, period, lease.held, lease.will, moments.text(lease.expires_at))
