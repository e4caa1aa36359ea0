"""Pure: books and writes as DynamoDB's items and expressions. `gptdock.ledger` lists their attributes.

Names are always placeholders, since some are reserved words. Conditions compare one number at a time: emulators and
DynamoDB disagree on arithmetic in conditions, SET with three operands, equality of maps, and overlapping paths.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from gptdock.accounts import Account
from gptdock.ledger import receipt_items
from gptdock.ledger.book import Book, Change, Client, Lease, Write

IN_FORCE_KEY = {"client_id": {"S": "-"}, "book": {"S": "in_force"}}  # no client's: those are account# and quota#
ACCOUNT = "account#"  # how the range key of a standing quota starts
FOLLOWS = "follows_default"  # an attribute of a standing quota that follows DEFAULT_TOKEN_QUOTA
_LEASE = "l#"

Item = dict[str, Any]


def number(value: int) -> Item:
    return {"N": str(value)}


def account_key(account: Account) -> Item:
    """The key of the item that holds a client's standing quota."""
    return {"client_id": {"S": account.client_id}, "book": {"S": ACCOUNT + account.product_id}}


def book_key(account: Account, period: str) -> Item:
    """The key of a client's book for one period."""
    return {"client_id": {"S": account.client_id}, "book": {"S": f"quota#{period}#{account.product_id}"}}


def new_book(account: Account, period: str, max_quota: int) -> Item:
    zero = number(0)
    return {**book_key(account, period), "max": number(max_quota), "left": number(max_quota), "used": zero}


def whose(item: Mapping[str, Any]) -> tuple[Account, str] | None:
    """Account and period of an item, if it is a book."""
    kind, _, rest = item["book"]["S"].partition("#")
    period, _, product_id = rest.partition("#")
    return (Account(item["client_id"]["S"], product_id), period) if kind == "quota" else None


def to_client(item: Mapping[str, Any]) -> Client:
    account = Account(item["client_id"]["S"], item["book"]["S"].removeprefix(ACCOUNT))
    return Client(account, int(item["max_quota"]["N"]), item["created_at"]["S"], FOLLOWS in item)


def once_key(account: Account, once: str) -> Item:
    """The key of the item that says that the change with this id was applied; `once` is visible ASCII."""
    book = f"once#{quote(once, safe='')}#{account.product_id}"
    return {"client_id": {"S": account.client_id}, "book": {"S": book}}


def once_item(account: Account, change: Change) -> Item:
    """The item of that key: the tokens and the receipt of the change."""
    receipt = {"S": change.receipt.key}
    return {**once_key(account, change.once), "tokens": number(change.max_by), "receipt": receipt}


def to_book(item: Mapping[str, Any], seen_at: int, applied: Write | None = None) -> Book:
    """The book that an item holds; the lease that `applied` has just written is known and not read again."""
    known = {applied.process: applied.lease} if applied and applied.lease else {}
    names = [name.removeprefix(_LEASE) for name in item if name.startswith(_LEASE)]
    leases = {name: known.get(name) or _to_lease(item[_LEASE + name]["M"]) for name in names}
    fence = int(item["f"]["N"]) if "f" in item else -1
    resets = int(item["resets"]["N"]) if "resets" in item else 0
    return Book(int(item["max"]["N"]), int(item["left"]["N"]), int(item["used"]["N"]), fence, leases, seen_at, resets)


def update(write: Write) -> dict[str, Any]:
    """The expressions of UpdateItem for a write."""
    names = {"#left": "left", "#used": "used", "#l": _LEASE + write.process}
    values = {":left": number(write.left_by), ":used": number(write.used_by)}
    sets = ["#left = #left + :left", "#used = #used + :used"]
    if write.lease:
        sets.append("#l = :lease")
        values[":lease"] = {"M": _from_lease(write.lease)}
    if write.fence is not None:
        sets.append("#f = :fence")
    conditions = " AND ".join(_conditions(write, names, values))
    return {
        "UpdateExpression": f"SET {', '.join(sets)}" + ("" if write.lease else " REMOVE #l"),
        "ConditionExpression": conditions,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


def _conditions(write: Write, names: Item, values: Item) -> list[str]:
    """The conditions of a write; adds the names and values that they need."""
    conditions = ["attribute_exists(#left)"]
    if write.expected_number is not None:
        names["#n"], values[":expected_number"] = "n", number(write.expected_number)
        conditions.append("#l.#n = :expected_number")
        if write.expected_will is not None:
            names["#c"], values[":expected_will"] = "c", number(write.expected_will)
            conditions.append("#l.#c = :expected_will")
    elif write.lease:
        names["#f"], values[":expires_at"] = "f", number(write.lease.expires_at)
        conditions.append("attribute_not_exists(#l) AND (attribute_not_exists(#f) OR #f < :expires_at)")
    if write.needed is not None:
        values[":needed"] = number(write.needed)
        conditions.append("#left >= :needed")
    if write.fence is not None:
        names["#f"], values[":fence"] = "f", number(write.fence)
        conditions.append("(attribute_not_exists(#f) OR #f <= :fence)")
    return conditions


def change_updates(account: Account, period: str, change: Change) -> tuple[dict[str, Any], dict[str, Any]]:
    """The updates of the book and of the account; the latter is empty unless the change sets a new maximum."""
    names = {"#left": "left", "#used": "used", "#max": "max"}
    values = {":left": number(change.left_by), ":used": number(change.used_by), ":max": number(change.max_by)}
    condition = "attribute_exists(#left)"
    if change.used_by < 0:
        values[":least"] = number(-change.used_by)
        condition = "#used >= :least"
    if change.old_max is not None:
        values[":old"] = number(change.old_max)
        condition = "#max = :old"
    taken, as_read = _wills(change, names, values)
    counted, as_counted = _counted(change, names, values)
    book = {
        "Key": book_key(account, period),
        "UpdateExpression": f"SET #left = #left + :left, #used = #used + :used, #max = #max + :max{taken}{counted}",
        "ConditionExpression": condition + as_read + as_counted,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
    if change.old_max is None:
        return book, {}
    return book, _standing(account, change.old_max + change.max_by, follows_default=change.follows_default)


def _standing(account: Account, quota: int, *, follows_default: bool) -> dict[str, Any]:
    follows: Item = {":follows": {"BOOL": True}} if follows_default else {}
    return {
        "Key": account_key(account),
        "UpdateExpression": f"SET #quota = :quota{', #follows = :follows' if follows else ' REMOVE #follows'}",
        "ExpressionAttributeNames": {"#quota": "max_quota", "#follows": FOLLOWS},
        "ExpressionAttributeValues": {":quota": number(quota), **follows},
    }


def _wills(change: Change, names: Item, values: Item) -> tuple[str, str]:
    """The update that takes back wills, and its conditions; adds the names and values that they need."""
    taken = as_read = ""
    for i, receipt in enumerate(change.late):
        names |= {"#n": "n", "#c": "c", f"#l{i}": _LEASE + receipt.process}
        values |= {":none": number(0), f":n{i}": number(receipt.commit), f":c{i}": number(-receipt.tokens)}
        taken += f", #l{i}.#c = :none"
        as_read += f" AND #l{i}.#n = :n{i} AND #l{i}.#c = :c{i}"
    return taken, as_read


def _counted(change: Change, names: Item, values: Item) -> tuple[str, str]:
    """The same for the number of resets, if this is one."""
    if change.resets is None:
        return "", ""
    names["#resets"], values[":resets"] = "resets", number(change.resets + 1)
    if not change.resets:
        return ", #resets = :resets", " AND attribute_not_exists(#resets)"
    values[":before"] = number(change.resets)
    return ", #resets = :resets", " AND #resets = :before"


def _from_lease(lease: Lease) -> Item:
    fields = {
        "o": number(lease.held),
        "c": number(lease.will),
        "n": number(lease.number),
        "e": number(lease.expires_at),
        "r": number(lease.requests),
        "q": {"L": [{"S": receipt_items.text(receipt)} for receipt in lease.receipts]},
    }
    if details := receipt_items.details(lease.receipts):
        fields["d"] = {"S": details}
    return fields


def _to_lease(fields: Mapping[str, Any]) -> Lease:
    held, will, commit_number, expires_at = (int(fields[name]["N"]) for name in "ocne")
    requests = int(fields["r"]["N"]) if "r" in fields else 0  # leases of older versions do not tell
    texts = [entry["S"] for entry in fields["q"]["L"]]
    receipts = receipt_items.from_texts(texts, fields.get("d", {"S": ""})["S"])
    return Lease(held, will, commit_number, expires_at, tuple(receipts), requests)
