"""Pure: conditions of a single attribute, as parameters of DynamoDB's operations."""

from typing import Any

from gptdock.ledger import items


def absent(attribute: str) -> dict[str, Any]:
    return {"ConditionExpression": "attribute_not_exists(#a)", "ExpressionAttributeNames": {"#a": attribute}}


def present(attribute: str) -> dict[str, Any]:
    return {"ConditionExpression": "attribute_exists(#a)", "ExpressionAttributeNames": {"#a": attribute}}


def equals(attribute: str, value: int) -> dict[str, Any]:
    return {
        "ConditionExpression": "#a = :a",
        "ExpressionAttributeNames": {"#a": attribute},
        "ExpressionAttributeValues": {":a": items.number(value)},
    }


def key_is(name: str, value: items.Item) -> dict[str, Any]:
    """The items with this hash key."""
    return {
        "KeyConditionExpression": "#k = :k",
        "ExpressionAttributeNames": {"#k": name},
        "ExpressionAttributeValues": {":k": value},
    }
