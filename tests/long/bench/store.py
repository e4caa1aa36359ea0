"""A DynamoDB in memory, fast enough not to be the limit: a call takes 30 to 60 us, and all that time, so it is atomic.

It knows the calls of `gptdock serve` and the expressions that those have; what it does not know is a fault that it
counts. Tables need not be made, signatures are not checked.
"""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any

import orjson

from tests.long.bench.expressions import Item, holds, updated
from tests.long.bench.wire import Requests, answer

_TARGET = re.compile(rb"\r\nx-amz-target: *\w+\.(\w+)", re.IGNORECASE)
_HEADERS = b"Content-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: BENCH\r\n"
_KEYS = {"quota": ("client_id", "book"), "usage": ("account", "receipt")}

Request = Mapping[str, Any]


class Refused(Exception):
    """A condition does not hold: `code` with what else the answer says."""

    def __init__(self, code: str, **fields: Any) -> None:
        super().__init__(code)
        self.content = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": code, **fields}


class Store:
    """All tables, and how often each operation was called; `faults` are calls that it did not understand.

    While `throttles`, no receipt can be put.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.throttles = False
        self._tables: defaultdict[str, dict[tuple[str, ...], Item]] = defaultdict(dict)
        self._acts: dict[str, Callable[[Request], Any]] = {
            "DescribeTable": self._describe_table,
            "GetItem": self._get_item,
            "PutItem": self._put_item,
            "UpdateItem": self._update_item,
            "BatchWriteItem": self._batch_write_item,
            "TransactWriteItems": self._transact_write_items,
        }

    def clear(self) -> None:
        """Begin anew, without an item."""
        self.calls.clear()
        self._tables.clear()

    def books(self) -> list[Item]:
        """Every client's book."""
        return [item for table in self._tables.values() for item in table.values() if "used" in item]

    def call(self, operation: str, body: bytes) -> bytes:
        """The whole HTTP answer."""
        self.calls[operation] += 1
        try:
            return answer(b"200 OK", orjson.dumps(self._acts[operation](orjson.loads(body))), _headers())
        except Refused as exc:
            return answer(b"400 Bad Request", orjson.dumps(exc.content), _headers())
        except (LookupError, TypeError, ValueError) as exc:
            self.faults[f"{operation}: {exc!r}"] += 1
            return answer(b"500 Internal Server Error", b"{}", _headers())

    def _describe_table(self, request: Request) -> Any:
        return {"Table": {"TableName": request["TableName"], "TableStatus": "ACTIVE"}}

    def _get_item(self, request: Request) -> Any:
        item = self._found(request["TableName"], request["Key"])
        return {"Item": item} if item else {}

    def _put_item(self, request: Request) -> Any:
        self._put(request["TableName"], request["Item"])
        return {}

    def _update_item(self, request: Request) -> Any:
        old = self._found(request["TableName"], request["Key"])
        if not holds(request, old):
            asked = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            raise Refused("ConditionalCheckFailedException", **({"Item": old} if old and asked else {}))
        new = updated(request, old)
        self._put(request["TableName"], new)
        return {"Attributes": new} if request.get("ReturnValues") == "ALL_NEW" else {}

    def _batch_write_item(self, request: Request) -> Any:
        if self.throttles:
            raise Refused("ThrottlingException")
        for table, writes in request["RequestItems"].items():
            for write in writes:
                self._put(table, write["PutRequest"]["Item"])
        return {"UnprocessedItems": {}}

    def _transact_write_items(self, request: Request) -> Any:
        writes = [next(iter(entry.items())) for entry in request["TransactItems"]]
        held = [holds(write, self._found(write["TableName"], write.get("Item") or write["Key"])) for _, write in writes]
        if not all(held):
            reasons = [{"Code": "None" if each else "ConditionalCheckFailed"} for each in held]
            raise Refused("TransactionCanceledException", CancellationReasons=reasons)
        for kind, write in writes:
            if kind == "Put":
                self._put(write["TableName"], write["Item"])
            elif kind == "Update":
                self._put(write["TableName"], updated(write, self._found(write["TableName"], write["Key"])))
        return {}

    def _found(self, table: str, key: Item) -> Item | None:
        return self._tables[table].get(_key(table, key))

    def _put(self, table: str, item: Item) -> None:
        self._tables[table][_key(table, item)] = item


def _headers() -> bytes:
    return _dated(int(time.time()))


@lru_cache(maxsize=1)
def _dated(second: int) -> bytes:
    return b"Date: %b\r\n%b" % (formatdate(second, usegmt=True).encode(), _HEADERS)


def _key(table: str, item: Item) -> tuple[str, ...]:
    return tuple(item[name]["S"] for name in _KEYS[table.rpartition("_")[2]])


class Calls(Requests):
    """One connection of the server under test."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def respond(self, head: bytes, body: bytes) -> None:
        """Do what is called for."""
        target = _TARGET.search(head)
        self.transport.write(self._store.call(target[1].decode() if target else "?", body))
