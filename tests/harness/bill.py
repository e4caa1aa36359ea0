"""A proxy in front of DynamoDB that adds up the write units which it would bill."""

import json
import math
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.harness.proxy import Proxy

UNIT = 1024  # bytes of an item


@dataclass
class Bill(Proxy):
    """`units` is the sum: for an update and for a put one for each KB of the item, in a transaction two for an item."""

    units: int = 0

    async def _forward(self, sent: dict[str, str], body: bytes) -> web.Response:
        response = await super()._forward(sent, body)
        operation, request = sent["X-Amz-Target"].rpartition(".")[2], json.loads(body)
        if operation == "UpdateItem":
            shown = json.loads(response.body or b"{}")  # type: ignore[arg-type]
            self.units += units(shown.get("Attributes") or shown.get("Item") or {})
        for puts in request.get("RequestItems", {}).values():
            self.units += sum(units(put["PutRequest"]["Item"]) for put in puts)
        for action in request.get("TransactItems", ()):
            self.units += 2 * max(1, units(next(iter(action.values())).get("Item", {})))
        return response


def units(item: dict[str, Any]) -> int:
    """The write units that an item of at most this size takes."""
    return max(1, math.ceil(size_of({"M": item}) / UNIT))


def size_of(value: dict[str, Any]) -> int:
    """About the bytes of an attribute, as DynamoDB's guide says."""
    [(kind, content)] = value.items()
    if kind == "M":
        return 3 + sum(len(name.encode()) + size_of(each) + 1 for name, each in content.items())
    if kind == "L":
        return 3 + sum(size_of(each) + 1 for each in content)
    return len(str(content).encode())
