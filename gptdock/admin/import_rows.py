"""Pure: rows of the service that GPTDock replaces, or of a file, as what each client brings with it.

The old tables: `client_data` (client_id, product_id, token_quota: what is left, max_quota) and `user_data` (user_id,
org_id: `<client>-<product>`, token_used). A row that cannot be read is named, never skipped silently.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gptdock import accounts
from gptdock.accounts import Account
from gptdock.errors import InvalidRequest
from gptdock.settings import MOST_QUOTA_TOKENS

FEWEST = 3  # columns of a file


@dataclass(frozen=True, slots=True)
class Brought:
    """What one client brings: its maximum, what it used of that, and what each user used, in tokens."""

    account: Account
    max: int
    used: int
    users: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rows:
    """All clients that could be read, and a line for each row that could not."""

    clients: list[Brought]
    unreadable: list[str]


def of_tables(clients: Iterable[Mapping[str, str]], users: Iterable[Mapping[str, str]]) -> Rows:
    """The rows of both old tables; each row as text by attribute."""
    unreadable: list[str] = []
    found: dict[Account, tuple[int, int]] = {}
    for row in clients:
        try:
            account, most = _account(row), _tokens(row["max_quota"])
            found[account] = (most, max(0, most - _tokens(row["token_quota"], least=-MOST_QUOTA_TOKENS)))
        except (KeyError, ValueError, InvalidRequest) as exc:
            unreadable.append(f"client_data {dict(row)}: {_why(exc)}")
    of_users = _by_account(users, found, unreadable)
    return Rows([Brought(each, *numbers, of_users[each]) for each, numbers in found.items()], unreadable)


def of_csv(text: str) -> Rows:
    """The rows of a file `client_id,product_id,max_quota[,used]`; a line of these names may come first."""
    clients: dict[Account, Brought] = {}
    unreadable: list[str] = []
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    while True:
        before, cells = reader.line_num, list[str]()
        try:
            cells = next(reader)
            if cells and not (before == 0 and cells[0] == "client_id"):
                client = _of_cells(cells)
                if client.account in clients:
                    raise ValueError("this client is in a line above")
                clients[client.account] = client
        except StopIteration:
            return Rows(list(clients.values()), unreadable)
        except (ValueError, InvalidRequest, csv.Error) as exc:
            unreadable.append(f"line {before + 1} {cells}: {exc}")


def _of_cells(cells: list[str]) -> Brought:
    if not FEWEST <= len(cells) <= FEWEST + 1:
        raise ValueError("not of the form client_id,product_id,max_quota[,used]")
    client_id, product_id, most, used = (*cells, "")[: FEWEST + 1]
    if client_id != client_id.strip() or product_id != product_id.strip():
        raise ValueError("a space before or after an id")
    account = _account({"client_id": client_id, "product_id": product_id})
    return Brought(account, _tokens(most), _tokens(used) if used.strip() else 0)


def _by_account(
    users: Iterable[Mapping[str, str]], known: Iterable[Account], unreadable: list[str]
) -> defaultdict[Account, dict[str, int]]:
    """What each user used, by client. An org_id is ambiguous where an id contains a hyphen, so it is looked up."""
    owners: defaultdict[str, list[Account]] = defaultdict(list)
    for account in known:
        owners[f"{account.client_id}-{account.product_id}"].append(account)
    found: defaultdict[Account, dict[str, int]] = defaultdict(dict)
    for row in users:
        try:
            account = _only(owners[row["org_id"]])
            user = accounts.identity(row["user_id"], "user_id")
            found[account][user] = _tokens(row["token_used"])
        except (KeyError, ValueError, InvalidRequest) as exc:
            unreadable.append(f"user_data {dict(row)}: {_why(exc)}")
    return found


def _account(row: Mapping[str, str]) -> Account:
    return Account(*(accounts.identity(row[name], name) for name in ("client_id", "product_id")))


def _only(owners: list[Account]) -> Account:
    if len(owners) != 1:
        raise ValueError(f"{len(owners) or 'no'} clients of this org_id")
    return owners[0]


def _tokens(text: str, least: int = 0) -> int:
    if not re.fullmatch("-?[0-9]{1,16}", text.strip(), re.ASCII) or not least <= int(text) <= MOST_QUOTA_TOKENS:
        raise ValueError(f"{text!r} is no integer from {least} to {MOST_QUOTA_TOKENS}")
    return int(text)


def _why(exc: Exception) -> str:
    return f"no {exc}" if isinstance(exc, KeyError) else str(exc)


def sums(clients: Iterable[Brought]) -> Iterator[int]:
    """The number of clients, and of tokens that they have at most and that they used."""
    rows = [(1, each.max, each.used) for each in clients]
    yield from (sum(column) for column in zip(*rows, strict=True)) if rows else (0, 0, 0)
