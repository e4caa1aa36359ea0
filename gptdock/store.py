"""Sends `quota`'s writes to DynamoDB and reads books; the only room that knows aiobotocore.

Every call ends within CALL_SECONDS. What is not a clear answer raises LedgerUnavailable: the call may have been
applied, or may still be. botocore itself never repeats a call (DESIGN 3: it could not tell whether the first had won).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from gptdock import items
from gptdock.errors import LedgerUnavailable, SettingsError
from gptdock.quota import Account, Book, Change, Receipt, Write
from gptdock.settings import Settings

CALL_SECONDS = 4.0  # connect 1 s + read 2 s, and what waiting for a pooled connection may add
BATCH = 25  # items a BatchWriteItem may have
_NOT_APPLIED = {"ConditionalCheckFailed", "TransactionConflict", "None"}


class Answer(NamedTuple):
    """What became of a write, and the book after it (applied) or as it is (refused); no book: there is none yet."""

    applied: bool
    book: Book | None


class Store:
    """Both tables, over one client for the life of the process."""

    def __init__(self, client: Any, table_prefix: str) -> None:
        self._client = client
        self._quota = table_prefix + "quota"
        self._usage = table_prefix + "usage"

    async def send(self, account: Account, period: str, write: Write) -> Answer:
        """Apply the write, once, or have it refused. Raises LedgerUnavailable: it may yet be applied."""
        try:
            answer = await self._call(
                "update_item",
                TableName=self._quota,
                Key=items.book_key(account, period),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **items.update(write),
            )
        except ClientError as exc:  # only refusals pass `_call` as they are
            item = exc.response.get("Item")
            return Answer(False, items.to_book(item) if item else await self.read(account, period))
        return Answer(True, items.to_book(answer["Attributes"]))

    async def read(self, account: Account, period: str) -> Book | None:
        """The book as it is now, consistently; None if there is none yet."""
        item = await self._get(items.book_key(account, period))
        return items.to_book(item) if item else None

    async def read_max(self, account: Account) -> int | None:
        """The client's standing quota in tokens; None if the client was never seen."""
        item = await self._get(items.account_key(account))
        return int(item["max_quota"]["N"]) if item else None

    async def open_book(self, account: Account, period: str, default_max: int, created_at: str) -> None:
        """See to it that the book exists: from the client's standing quota, or with the client itself, if new."""
        seen, key = await self.read_max(account), items.account_key(account)
        max_quota = default_max if seen is None else seen
        check: dict[str, Any]
        if seen is None:
            item = {**key, "max_quota": items.number(max_quota), "created_at": {"S": created_at}}
            check = {"Put": {"TableName": self._quota, "Item": item, **_absent("client_id")}}
        else:
            check = {"ConditionCheck": {"TableName": self._quota, "Key": key, **_equals("max_quota", max_quota)}}
        book = {"TableName": self._quota, "Item": items.new_book(account, period, max_quota), **_absent("client_id")}
        try:
            await self._call("transact_write_items", TransactItems=[check, {"Put": book}])
        except ClientError:
            return  # somebody else was first

    async def put_receipts(self, receipts: Sequence[tuple[Account, str, Receipt]]) -> None:
        """Put up to BATCH receipts (account, period, receipt), each as often as one likes: same key, same content."""
        puts = [{"PutRequest": {"Item": items.receipt_item(*receipt)}} for receipt in receipts]
        answer = await self._call("batch_write_item", RequestItems={self._usage: puts})
        if answer.get("UnprocessedItems"):
            raise LedgerUnavailable

    async def change(self, account: Account, period: str, change: Change) -> bool:
        """Apply an operator's change with its receipt, once; False if the book was not as it must be.

        True also if it had been applied before: so it may be sent again after LedgerUnavailable.
        """
        book, standing = items.change(account, period, change)
        item = items.receipt_item(account, period, change.receipt)
        transaction = [
            {"Put": {"TableName": self._usage, "Item": item, **_absent("receipt")}},
            {"Update": {"TableName": self._quota, **book}},
        ]
        if standing:
            transaction.append({"Update": {"TableName": self._quota, **standing}})
        try:
            await self._call("transact_write_items", TransactItems=transaction)
        except ClientError as exc:
            return bool(exc.response["CancellationReasons"][0].get("Code") == "ConditionalCheckFailed")
        return True

    async def books(self, client_id: str | None = None) -> AsyncIterator[tuple[Account, str, Book]]:
        """Every book of one client, or of all, as it is now: account, period, book."""
        operation: dict[str, Any] = {"operation": "scan"}
        if client_id is not None:
            operation = {"operation": "query", **_key_is("client_id", {"S": client_id})}
        async for item in self._pages(TableName=self._quota, **operation):
            if whose := items.whose(item):
                yield *whose, items.to_book(item)

    async def receipts(self, account: Account, period: str) -> AsyncIterator[Receipt]:
        """The receipts of one client and period that are put, by time."""
        query = _key_is("account", items.usage_key(account))
        async for item in self._pages(operation="query", TableName=self._usage, **query):
            if item["period"]["S"] == period:
                yield items.to_receipt(item)

    async def _pages(self, operation: str, **parameters: Any) -> AsyncIterator[items.Item]:
        start: dict[str, Any] = {}
        while True:
            answer = await self._call(operation, ConsistentRead=True, **parameters, **start)
            for item in answer["Items"]:
                yield item
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def check(self) -> None:
        """Raise SettingsError if a table is missing, LedgerUnavailable if that cannot be told now."""
        for table in (self._quota, self._usage):
            try:
                await self._call("describe_table", TableName=table)
            except ClientError as exc:
                raise SettingsError(f"DYNAMODB_TABLE_PREFIX: there is no table {table}; run `gptdock tables`") from exc

    async def create_tables(self) -> None:
        """Create both tables and the TTL of `usage`; what is there already stays as it is."""
        await self._create_table(self._quota, "client_id", "book")
        await self._create_table(self._usage, "account", "receipt")
        answer = await self._call("describe_time_to_live", TableName=self._usage)
        if answer["TimeToLiveDescription"]["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
            spec = {"Enabled": True, "AttributeName": "expires_at"}
            await self._call("update_time_to_live", TableName=self._usage, TimeToLiveSpecification=spec)

    async def _create_table(self, name: str, hash_key: str, range_key: str) -> None:
        keys = ((hash_key, "HASH"), (range_key, "RANGE"))
        try:
            await self._call("describe_table", TableName=name)
        except ClientError:
            await self._call(
                "create_table",
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
            )
            async with _translated(seconds=300):
                await self._client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})

    async def _get(self, key: items.Item) -> items.Item | None:
        answer = await self._call("get_item", TableName=self._quota, Key=key, ConsistentRead=True)
        item: items.Item | None = answer.get("Item")
        return item

    async def _call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        async with _translated(CALL_SECONDS):
            answer: Mapping[str, Any] = await getattr(self._client, operation)(**parameters)
            return answer


def _absent(attribute: str) -> dict[str, Any]:
    return {"ConditionExpression": "attribute_not_exists(#a)", "ExpressionAttributeNames": {"#a": attribute}}


def _equals(attribute: str, value: int) -> dict[str, Any]:
    return {
        "ConditionExpression": "#a = :a",
        "ExpressionAttributeNames": {"#a": attribute},
        "ExpressionAttributeValues": {":a": items.number(value)},
    }


def _key_is(name: str, value: items.Item) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "#k = :k",
        "ExpressionAttributeNames": {"#k": name},
        "ExpressionAttributeValues": {":k": value},
    }


@asynccontextmanager
async def _translated(seconds: float) -> AsyncIterator[None]:
    """Let refusals pass as botocore's ClientError; whatever else fails becomes LedgerUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except ClientError as exc:
        if _is_refusal(exc):
            raise
        raise LedgerUnavailable from exc
    except Exception as exc:  # botocore's parsers, credential providers and HTTP raise what they like
        raise LedgerUnavailable from exc


def fault(error: LedgerUnavailable) -> str:
    """What was wrong, in one word: DynamoDB's own code, or the class of what failed. For the log, not for callers."""
    cause = error.__cause__
    if isinstance(cause, ClientError):
        return str(cause.response.get("Error", {}).get("Code", ""))
    return type(cause).__name__


def _is_refusal(exc: ClientError) -> bool:
    code: str = exc.response.get("Error", {}).get("Code", "")
    if code == "TransactionCanceledException":
        reasons = exc.response.get("CancellationReasons", [])
        return all(reason.get("Code") in _NOT_APPLIED for reason in reasons)
    if code == "ResourceNotFoundException":
        return bool(exc.operation_name == "DescribeTable")
    return code == "ConditionalCheckFailedException"


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Store]:
    """A store for the life of the process."""
    config = AioConfig(
        connect_timeout=1,
        read_timeout=2,
        max_pool_connections=64,
        parameter_validation=False,
        retries={"total_max_attempts": 1},
    )
    async with get_session().create_client(
        "dynamodb",
        region_name=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url_dynamodb,
        aws_access_key_id=settings.aws_access_key_id or None,
        aws_secret_access_key=settings.aws_secret_access_key or None,
        aws_session_token=settings.aws_session_token or None,
        config=config,
    ) as client:
        yield Store(client, settings.dynamodb_table_prefix)
