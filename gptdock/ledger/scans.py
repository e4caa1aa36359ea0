"""Reads much for an operator: which books are nearly spent, what all clients used, one client's receipts backwards.

Nothing is kept.
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from gptdock.accounts import Account
from gptdock.ledger import items, receipt_items
from gptdock.ledger.book import Receipt
from gptdock.ledger.conditions import key_is
from gptdock.ledger.store import PAGE, Store

FIRST, LAST = "0", ":"  # around all keys of receipts, which begin with a year


class Spent(NamedTuple):
    """The numbers of a book, in tokens, without its leases: all that a scan for nearly spent ones has to read."""

    account: Account
    max: int
    left: int
    used: int

    @property
    def percent(self) -> float:
        """How much of the quota is used or held; 100 if there is none. Over 100 where it was lowered."""
        return 100.0 * (self.max - self.left) / self.max if self.max else 100.0

    @property
    def place(self) -> tuple[float, Account]:
        """The key to sort by: the fullest first."""
        return -self.percent, self.account


async def spent(store: Store, period: str) -> AsyncIterator[Spent]:
    """Every book of this period. Raises LedgerUnavailable."""
    names = {"#b": "book", "#c": "client_id", "#max": "max", "#left": "left", "#used": "used"}
    only = {
        "FilterExpression": "begins_with(#b, :book)",
        "ProjectionExpression": ", ".join(names),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {":book": {"S": f"quota#{period}#"}},
    }
    async for item in store.pages("quota", "scan", Limit=PAGE, **only):
        if whose := items.whose(item):
            yield Spent(whose[0], *(int(item[name]["N"]) for name in ("max", "left", "used")))


async def rows(store: Store, table: str) -> AsyncIterator[dict[str, str]]:
    """Every item of another table, each attribute as text. Raises LedgerUnavailable."""
    start: dict[str, Any] = {}
    while True:
        answer = await store.call("scan", TableName=table, ConsistentRead=True, Limit=PAGE, **start)
        for item in answer["Items"]:
            yield {name: str(next(iter(value.values()))) for name, value in item.items()}
        if "LastEvaluatedKey" not in answer:
            return
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


async def receipts(store: Store, since: str) -> AsyncIterator[tuple[str, Receipt, Account]]:
    """Every receipt in `usage` whose key is not before `since`, with its period and its client, in no order."""
    only = {
        "FilterExpression": "#r >= :since",
        "ExpressionAttributeNames": {"#r": "receipt"},
        "ExpressionAttributeValues": {":since": {"S": since}},
    }
    async for item in store.pages("usage", "scan", Limit=PAGE, **only):
        yield item["period"]["S"], receipt_items.to_receipt(item), receipt_items.usage_account(item)


async def receipts_before(
    store: Store, account: Account, before: str | None, since: str | None, at_once: int
) -> AsyncIterator[tuple[str, Receipt]]:
    """The receipts in `usage` of one client, the newest first, each with its period; with keys from `since` on.

    Only those with keys before `before`, read in pages of about `at_once`. Raises LedgerUnavailable.
    """
    query = key_is("account", receipt_items.usage_key(account))
    query["KeyConditionExpression"] += " AND #r BETWEEN :since AND :before"
    query["ExpressionAttributeNames"]["#r"] = "receipt"
    query["ExpressionAttributeValues"] |= {":since": {"S": since or FIRST}, ":before": {"S": before or LAST}}
    size = min(at_once + 2, PAGE)  # with the first of the next page, and `before` itself
    async for item in store.pages("usage", "query", Limit=size, ScanIndexForward=False, **query):
        if item["receipt"]["S"] != before:
            yield item["period"]["S"], receipt_items.to_receipt(item)
