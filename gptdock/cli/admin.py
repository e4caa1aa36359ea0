"""The operator's commands `client` and `usage`: their arguments, and what each action works with.

They print tables, or with `--json` the same JSON as the routes, or CSV for spreadsheets.
"""

import argparse
import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gptdock import accounts
from gptdock.admin import in_force, report_rows
from gptdock.admin.changes import Operator
from gptdock.admin.clients import Clients
from gptdock.cli import clients
from gptdock.cli.commands import configured_for_operators
from gptdock.cli.console import operator, tell
from gptdock.cli.usage import refuse_contradictions, usage
from gptdock.errors import InvalidRequest, SettingsError
from gptdock.ledger import periods
from gptdock.ledger.store import Store
from gptdock.settings import MOST_QUOTA_TOKENS, Settings

MOST_PERCENT = 100

Act = Callable[[Clients, argparse.Namespace], Awaitable[int | None]]  # an exit code; None: 0


def add_to(subparsers: Any) -> None:
    """Add `client` and `usage` to the subparsers of `gptdock`; each sets `run`."""
    client = subparsers.add_parser("client", help="list clients, show one, change its quota, reset its period")
    actions = client.add_subparsers(dest="action", required=True)
    listed = _add(actions, "list", clients.list_all, "list all clients", one_client=False)
    listed.add_argument("--near", metavar="PERCENT", type=_percent, help="only those who used or hold so much")
    listed.add_argument("--limit", metavar="N", type=_positive, help="with --near: at most so many, the fullest")
    listed.add_argument("--prometheus", action="store_true", help="with --near: a file for node-exporter")
    listed.set_defaults(text="", refuse=listed.error, check=_refuse_what_needs_near)
    found = _add(actions, "find", clients.list_all, "list clients by a part of an id", one_client=False)
    found.add_argument("text", metavar="TEXT")
    found.set_defaults(near=None, prometheus=False)
    _add(actions, "show", clients.show, "show a client and its books")
    _add_changes(actions)
    ended = _add(
        actions, "release", clients.release, "end what a process that died still holds; takes a minute, to be sure"
    )
    ended.add_argument("--process", metavar="ID", required=True, help="as `show` names it")
    _add_forget(actions)
    _add_usage(subparsers)


def _add_forget(actions: Any) -> None:
    parser = _add(
        actions, "forget", clients.forget, "put a pseudonym in the place of a client or a user", one_client=False
    )
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--client", metavar="C", type=identity, help="with all its products and its users")
    whom.add_argument("--user", metavar="U", type=identity, help="of all clients; reads every receipt")
    parser.add_argument("--dry-run", action="store_true", help="say what would be changed, and change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _add_usage(subparsers: Any) -> None:
    report = _add(subparsers, "usage", usage, "report what a client used, or all", one_client=False)
    report.add_argument("client_id", metavar="CLIENT", type=identity, nargs="?")
    report.add_argument("product_id", metavar="PRODUCT", type=identity, nargs="?")
    report.add_argument("--period", metavar="P", type=_period, help="all, 2026-11 or 2026-11-23 (default: running one)")
    report.add_argument("--all", action="store_true", help="of all clients; reads every receipt")
    report.add_argument("--from", metavar="DAY", type=_day, dest="since", help="with --all (default: the first)")
    report.add_argument("--to", metavar="DAY", type=_day, dest="until", help="with --all (default: today)")
    report.add_argument("--by", choices=list(report_rows.COLUMNS), help="default: day; with --all: client")
    report.set_defaults(refuse=report.error, check=refuse_contradictions)


def _add_changes(actions: Any) -> None:
    quota = _add(
        actions, "set-quota", clients.set_quota, "set the quota, also of the running period; create a new client"
    )
    quota.add_argument("max_quota", metavar="TOKENS", type=_tokens)
    quota.add_argument("--existing", action="store_true", help="refuse to create a client")
    default = _add(actions, "default", clients.set_default, "set the quota to DEFAULT_TOKEN_QUOTA, and follow it")
    credit = _add(actions, "credit", clients.credit, "add tokens to the running period, once for each id")
    credit.add_argument("tokens", metavar="TOKENS", type=_tokens)
    credit.add_argument("--reason", metavar="TEXT", type=identity, required=True, help="what the receipt says")
    credit.add_argument("--id", metavar="ID", type=_once, required=True, help="repeating the command changes nothing")
    reset = _add(actions, "reset", clients.reset, "restart the running period with 0 used")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    for action in (quota, default, credit, reset):
        action.set_defaults(changes_running_period=True)


def _add(subparsers: Any, name: str, act: Act, what: str, *, one_client: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=what)
    parser.set_defaults(run=_run, act=act, check=lambda _: None, changes_running_period=False)
    if one_client:
        parser.add_argument("client_id", metavar="CLIENT", type=identity)
        parser.add_argument("product_id", metavar="PRODUCT", type=identity)
    add_forms(parser)
    return parser


def _refuse_what_needs_near(parsed: argparse.Namespace) -> None:
    """Exit with 2 if an argument would have no effect."""
    if parsed.near is None and (parsed.prometheus or parsed.limit):
        parsed.refuse("--limit and --prometheus need --near")
    if parsed.prometheus and parsed.form != "table":
        parsed.refuse(f"--prometheus is another form than --{parsed.form}")


def add_forms(parser: argparse.ArgumentParser) -> None:
    """Add `--json` and `--csv`, of which `form` has the one given, otherwise `table`."""
    group = parser.add_mutually_exclusive_group()
    for form in ("json", "csv"):
        what = f"{form.upper()} instead of a table"
        group.add_argument(f"--{form}", action="store_const", const=form, dest="form", help=what)
    parser.set_defaults(form="table")


def _run(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    parsed.check(parsed)
    settings = configured_for_operators(environ, log_level="WARNING")  # stdout shows the change
    parsed.operator = Operator(operator(environ), uuid.uuid4().hex)
    return asyncio.run(_act(parsed, settings))


async def _act(parsed: argparse.Namespace, settings: Settings) -> int:
    async with Store.connected(settings) as store:
        try:
            await in_force.check(store, settings.quota_period)
        except SettingsError as exc:
            if parsed.changes_running_period:
                raise
            tell(str(exc))
        code: int | None = await parsed.act(Clients(store, settings), parsed)
        return code or 0


def identity(text: str) -> str:
    """The id, checked as the API does, for argparse. Raises ArgumentTypeError."""
    return _checked(accounts.identity, text)


def _once(text: str) -> str:
    return _checked(accounts.once, text)


def _checked(check: Callable[[object, str], str], text: str) -> str:
    try:
        return check(text, "it")
    except InvalidRequest as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _tokens(text: str) -> int:
    if not re.fullmatch("[0-9]{1,16}", text) or int(text) > MOST_QUOTA_TOKENS:
        raise argparse.ArgumentTypeError(f"it must be an integer from 0 to {MOST_QUOTA_TOKENS}")
    return int(text)


def _day(text: str) -> str:
    if len(text) != len("2026-11-23") or not periods.is_period(text):
        raise argparse.ArgumentTypeError("it must be a day like 2026-11-23")
    return text


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError("it must be an integer from 1 to 999999999")
    return int(text)


def _percent(text: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", text) or int(text) > MOST_PERCENT:
        raise argparse.ArgumentTypeError(f"it must be an integer from 0 to {MOST_PERCENT}")
    return int(text)


def _period(text: str) -> str:
    if not periods.is_period(text):
        raise argparse.ArgumentTypeError("it must be all, a month like 2026-11 or a day like 2026-11-23")
    return text
