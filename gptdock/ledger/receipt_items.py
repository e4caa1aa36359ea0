"""Pure: receipts as items of `usage`, and as texts in leases. `gptdock.ledger` lists their attributes."""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import orjson

from gptdock.accounts import Account
from gptdock.ledger import periods
from gptdock.ledger.book import Receipt

RETAIN_RECEIPTS_SECONDS = 400 * 86_400  # after the period's end; those of `all` stay: they sum to `used` for ever
_IN_TEXT = 10  # the fields of a receipt in a lease's `q`; the others, the details, are in its `d`
_NO_DETAILS = "0 0;"

Item = dict[str, Any]


@functools.lru_cache(maxsize=4096)  # each request has a receipt
def usage_key(account: Account) -> Item:
    """The hash key of a client's receipts, not to be changed."""
    return {"S": f"{quote(account.client_id, safe='')}#{quote(account.product_id, safe='')}"}


def usage_account(item: Mapping[str, Any]) -> Account:
    """Whose a receipt is, by the hash key of its item."""
    client_id, _, product_id = item["account"]["S"].partition("#")
    return Account(unquote(client_id), unquote(product_id))


def to_receipt(item: Mapping[str, Any]) -> Receipt:
    """The receipt in an item of `usage`; those of earlier versions lack columns, which are 0."""
    cells = {"key": item["receipt"]} | {name: item[name] for name in Receipt._fields if name in item}
    values: dict[str, Any] = {name: int(cell["N"]) if "N" in cell else cell["S"] for name, cell in cells.items()}
    return Receipt(**values)


def to_item(account: Account, period: str, receipt: Receipt) -> Item:
    """The item of `usage` for a receipt; without `expires_at` it is never deleted."""
    item: Item = {  # written out: a loop over the fields would take twice as long, for each request
        "receipt": {"S": receipt.key},
        "tokens": {"N": str(receipt.tokens)},
        "prompt_tokens": {"N": str(receipt.prompt_tokens)},
        "completion_tokens": {"N": str(receipt.completion_tokens)},
        "user": {"S": receipt.user},
        "model": {"S": receipt.model},
        "source": {"S": receipt.source},
        "outcome": {"S": receipt.outcome},
        "process": {"S": receipt.process},
        "commit": {"N": str(receipt.commit)},
        "cached_tokens": {"N": str(receipt.cached_tokens)},
        "reasoning_tokens": {"N": str(receipt.reasoning_tokens)},
        "account": usage_key(account),
        "period": {"S": period},
    }
    if (expires_at := expire_at(period)) is not None:
        item["expires_at"] = {"N": str(expires_at)}
    return item


def expire_at(period: str) -> int | None:
    """When DynamoDB may delete the receipts of this period, in Unix seconds; None if never."""
    ends_at = periods.end(period)
    return int(ends_at.timestamp()) + RETAIN_RECEIPTS_SECONDS if ends_at else None


def bytes_in_lease(receipt: Receipt) -> int:
    """What a receipt takes of the item of its book, while it is in a lease."""
    return len(text(receipt).encode()) + 1 + len(_details(receipt))


@functools.lru_cache(maxsize=4096)  # a receipt stays in its lease for several commits
def text(receipt: Receipt) -> str:
    """A receipt as it is in a lease, but for its details: processes of an earlier version read texts of ten fields."""
    return orjson.dumps(receipt[:_IN_TEXT]).decode()


def details(receipts: Sequence[Receipt]) -> str:
    """The details of these, in one text; empty if none has any."""
    each = [_details(receipt) for receipt in receipts]
    return "" if each.count(_NO_DETAILS) == len(each) else "".join(each)


def from_texts(texts: Sequence[str], their_details: str) -> Iterator[Receipt]:
    """The receipts of these texts."""
    each = [*their_details.split(";"), *[""] * len(texts)]  # no receipt is lost for lack of them
    return (Receipt(*json.loads(most), *map(int, rest.split())) for most, rest in zip(texts, each, strict=False))


def _details(receipt: Receipt) -> str:
    if not receipt.cached_tokens and not receipt.reasoning_tokens:
        return _NO_DETAILS  # as most have
    return f"{receipt.cached_tokens} {receipt.reasoning_tokens};"
