"""Tries what a process needs of DynamoDB, and changes nothing: its writes have conditions that never hold.

Each probe returns what is wrong, or an empty text.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from gptdock.errors import LedgerUnavailable, SettingsError
from gptdock.ledger import aws, items
from gptdock.ledger.store import Store

MOST_SKEW_SECONDS = 5.0
_NOWHERE = {"client_id": {"S": "-"}, "book": {"S": "check"}}
_NEVER: dict[str, Any] = {"ConditionExpression": "attribute_exists(#a)", "ExpressionAttributeNames": {"#a": "never"}}
_RECEIPT = {"account": {"S": "-"}, "receipt": {"S": "check"}}


async def tables(store: Store) -> str:
    """Both exist."""
    try:
        await store.check()
    except SettingsError as exc:
        return str(exc)
    return ""


async def expiry(store: Store) -> str:
    """DynamoDB deletes receipts that have expired."""
    answer = await store.call("describe_time_to_live", TableName=store.tables["usage"])
    status = answer["TimeToLiveDescription"]["TimeToLiveStatus"]
    return "" if status in ("ENABLED", "ENABLING") else "receipts never expire: run `gptdock tables`"


async def clock(store: Store) -> str:
    """The machine's clock is near DynamoDB's; quotas go by the latter."""
    await store.ping()
    skew = store.clock.skew
    return f"this machine's clock is {skew:+.0f} s off DynamoDB's" if abs(skew) > MOST_SKEW_SECONDS else ""


async def permissions(store: Store, *, admin: bool, forgets: bool = False) -> str:
    """Every action that `serve` needs is allowed; with `admin` also those of operators, and those of `forget`."""
    attempts = [*_attempts(store, admin=admin), *(_of_forget(store) if forgets else ())]
    denied = [name for name, attempt in attempts if not await _is_allowed(attempt)]
    return f"not allowed: {', '.join(denied)}" if denied else ""


async def _is_allowed(attempt: Callable[[], Awaitable[Any]]) -> bool:
    try:
        await attempt()
    except aws.Refused:
        return True  # by its condition
    except LedgerUnavailable as exc:
        if exc.fault == "AccessDeniedException":
            return False
        raise
    return True


def _attempts(store: Store, *, admin: bool) -> Sequence[tuple[str, Callable[[], Awaitable[Any]]]]:
    quota, usage = ({"TableName": name} for name in store.tables.values())
    check = {"ConditionCheck": {**quota, "Key": _NOWHERE, **_NEVER}}
    deletion = {usage["TableName"]: [{"DeleteRequest": {"Key": _RECEIPT}}]}
    mine = {
        "KeyConditionExpression": "#k = :k",
        "ExpressionAttributeNames": {"#k": "account"},
        "ExpressionAttributeValues": {":k": {"S": "-"}},
    }
    serving = [
        ("dynamodb:GetItem", partial(store.call, "get_item", **quota, Key=_NOWHERE)),
        ("dynamodb:PutItem", partial(store.call, "put_item", **quota, Item=_NOWHERE, **_NEVER)),
        ("dynamodb:UpdateItem", partial(store.call, "update_item", **quota, Key=_NOWHERE, **_update())),
        ("dynamodb:ConditionCheckItem", partial(store.call, "transact_write_items", TransactItems=[check])),
        ("dynamodb:BatchWriteItem", partial(store.call, "batch_write_item", RequestItems=deletion)),
    ]
    operating = [
        ("dynamodb:Query", partial(store.call, "query", **usage, Limit=1, **mine)),
        ("dynamodb:Scan", partial(store.call, "scan", **quota, Limit=1)),
    ]
    return serving + operating if admin else serving


def _of_forget(store: Store) -> Sequence[tuple[str, Callable[[], Awaitable[Any]]]]:
    name = store.tables["quota"]
    return [("dynamodb:DeleteItem", partial(store.call, "delete_item", TableName=name, Key=_NOWHERE, **_NEVER))]


def _update() -> dict[str, Any]:
    return {
        "UpdateExpression": "SET #u = :u",
        "ConditionExpression": "attribute_exists(#a)",
        "ExpressionAttributeNames": {"#a": "never", "#u": "used"},
        "ExpressionAttributeValues": {":u": items.number(0)},
    }
