"""Books, receipts and clients in their two tables: sends writes and reads, through `aws`.

Whatever is not a clear answer raises LedgerUnavailable: a write may have been applied, or may still be.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple, Self

from gptdock.accounts import Account
from gptdock.errors import LedgerUnavailable, SettingsError
from gptdock.ledger import aws, items, periods, receipt_items
from gptdock.ledger.book import Book, Change, Client, Receipt, Write
from gptdock.ledger.clock import Clock
from gptdock.ledger.conditions import absent, equals, key_is, present
from gptdock.ledger.pseudonyms import Pseudonyms
from gptdock.settings import Settings

BATCH = 25  # the most items that DynamoDB takes in a BatchWriteItem
PAGE = 500  # items read by one call; parsing them blocks the event loop for 6 ms, and for 30 in aiobotocore


class Result(NamedTuple):
    """Whether a write was applied, and the book as it is now; None if there is no book.

    `is_too_big`: it was refused for the size that the item would have.
    """

    applied: bool
    book: Book | None
    is_too_big: bool = False


class Store:
    """Both tables."""

    def __init__(self, client: aws.Client, table_prefix: str, pseudonyms: Pseudonyms | None = None) -> None:
        self._client, self._pseudonyms = client, pseudonyms
        self._quota = table_prefix + "quota"
        self._usage = table_prefix + "usage"
        self.tables = {"quota": self._quota, "usage": self._usage}

    @classmethod
    @asynccontextmanager
    async def connected(cls, settings: Settings, clock: Clock | None = None) -> AsyncIterator[Self]:
        """A store for the life of the process; `clock` learns DynamoDB's time."""
        async with aws.connect(settings, clock) as client:
            pseudonyms = Pseudonyms(settings.forget_key) if settings.forget_key else None
            yield cls(client, settings.dynamodb_table_prefix, pseudonyms)

    @property
    def clock(self) -> Clock:
        """DynamoDB's time."""
        return self._client.clock

    async def send(self, account: Account, period: str, write: Write) -> Result:
        """Apply the write once, or have it refused. Raises LedgerUnavailable: it may be applied, now or later."""
        try:
            answer = await aws.call(
                self._client,
                "update_item",
                TableName=self._quota,
                Key=items.book_key(account, period),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **items.update(write),
            )
        except aws.Refused as exc:
            item, seen_at = exc.response.get("Item"), exc.response[aws.SEEN_AT]
            book = items.to_book(item, seen_at) if item else await self.read(account, period)
            return Result(False, book, aws.is_too_big(exc))
        return Result(True, items.to_book(answer["Attributes"], answer[aws.SEEN_AT], applied=write))

    async def read(self, account: Account, period: str) -> Book | None:
        """The book, read consistently; None if there is none yet."""
        answer = await self._get(items.book_key(account, period))
        return items.to_book(answer["Item"], answer[aws.SEEN_AT]) if "Item" in answer else None

    async def read_max(self, account: Account, default_max: int = 0) -> int | None:
        """What a new book of the client begins with, in tokens; None if the client was never seen."""
        client = await self.client(account)
        return client and _new_max(client, default_max)

    async def client(self, account: Account) -> Client | None:
        """The client with its standing quota; None if it was never seen."""
        answer = await self._get(items.account_key(account))
        return items.to_client(answer["Item"]) if "Item" in answer else None

    async def clients(self, after: Account | None = None) -> AsyncIterator[Client]:
        """Every client, or those after `after` in the order of a scan, which means nothing but stays the same."""
        start = {"ExclusiveStartKey": items.account_key(after)} if after else {}
        only = {
            "FilterExpression": "begins_with(#b, :account)",
            "ExpressionAttributeNames": {"#b": "book"},
            "ExpressionAttributeValues": {":account": {"S": items.ACCOUNT}},
        }
        async for item in self.pages("quota", "scan", Limit=PAGE, **only, **start):
            yield items.to_client(item)

    async def open_book(self, account: Account, period: str, default_max: int, created_at: str) -> None:
        """Create a missing book, with the standing quota; and the client, if it is new, with `default_max`.

        A client that was forgotten begins with 0: otherwise it would get a new quota by that.
        """
        client, key = await self.client(account), items.account_key(account)
        if client is None and await self._was_forgotten(account):
            default_max = 0
        max_quota = _new_max(client, default_max)
        check: dict[str, Any]
        if client is None:
            item = {**key, "max_quota": items.number(max_quota), "created_at": {"S": created_at}}
            check = {"Put": {"TableName": self._quota, "Item": item, **absent("client_id")}}
        else:
            as_read = present(items.FOLLOWS) if client.follows_default else equals("max_quota", max_quota)
            check = {"ConditionCheck": {"TableName": self._quota, "Key": key, **as_read}}
        book = {"TableName": self._quota, "Item": items.new_book(account, period, max_quota), **absent("client_id")}
        try:
            await aws.call(self._client, "transact_write_items", TransactItems=[check, {"Put": book}])
        except aws.Refused:
            return  # another process was first

    async def put_receipts(self, receipts: Sequence[tuple[Account, str, Receipt]]) -> None:
        """Put up to BATCH receipts (account, period, receipt); one that is put again has the same content.

        Raises LedgerUnavailable: then some may be put.
        """
        puts = [{"PutRequest": {"Item": receipt_items.to_item(*receipt)}} for receipt in receipts]
        answer = await aws.call(self._client, "batch_write_item", RequestItems={self._usage: puts})
        if answer.get("UnprocessedItems"):
            raise LedgerUnavailable(fault="UnprocessedItems")

    async def change(self, account: Account, period: str, change: Change) -> bool:
        """Apply an operator's change once, with its receipts; False if the book is not as the change expects.

        True also if it had been applied before, so it may be sent again after LedgerUnavailable.
        """
        book, standing = items.change_updates(account, period, change)
        item, *late = [receipt_items.to_item(account, period, receipt) for receipt in (change.receipt, *change.late)]
        transaction = [
            {"Put": {"TableName": self._usage, "Item": item, **absent("receipt")}},
            {"Update": {"TableName": self._quota, **book}},
            *({"Put": {"TableName": self._usage, "Item": each}} for each in late),
        ]
        if standing:
            transaction.append({"Update": {"TableName": self._quota, **standing}})
        if change.once:
            once = items.once_item(account, change)
            transaction.append({"Put": {"TableName": self._quota, "Item": once, **absent("client_id")}})
        try:
            await aws.call(self._client, "transact_write_items", TransactItems=transaction)
        except aws.Refused as exc:
            return bool(exc.response["CancellationReasons"][0].get("Code") == "ConditionalCheckFailed")
        return True

    async def applied_once(self, account: Account, once: str) -> int | None:
        """The tokens of the change with this id, if it was applied."""
        answer = await self._get(items.once_key(account, once))
        return int(answer["Item"]["tokens"]["N"]) if "Item" in answer else None

    async def books(self, client_id: str | None = None) -> AsyncIterator[tuple[Account, str, Book]]:
        """Every book of one client, or of all: account, period, book."""
        operation: dict[str, Any] = {"operation": "scan"}
        if client_id is not None:
            operation = {"operation": "query", **key_is("client_id", {"S": client_id})}
        async for item in self.pages("quota", Limit=PAGE, **operation):
            if whose := items.whose(item):
                yield *whose, items.to_book(item, item[aws.SEEN_AT])

    async def receipts(self, account: Account, period: str) -> AsyncIterator[Receipt]:
        """The receipts in `usage` of one client and period, by time."""
        async for of_period, receipt in self.receipts_since(account):
            if of_period == period:
                yield receipt

    async def receipts_since(self, account: Account, since: str | None = None) -> AsyncIterator[tuple[str, Receipt]]:
        """The receipts in `usage` of one client, by time, each with its period; with keys from `since` on."""
        query = key_is("account", receipt_items.usage_key(account))
        if since:
            query["KeyConditionExpression"] += " AND #r >= :since"
            query["ExpressionAttributeNames"]["#r"] = "receipt"
            query["ExpressionAttributeValues"][":since"] = {"S": since}
        async for item in self.pages("usage", "query", Limit=PAGE, **query):
            yield item["period"]["S"], receipt_items.to_receipt(item)

    async def call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """What an operation answers, see `aws.call`. Raises Refused, LedgerUnavailable."""
        return await aws.call(self._client, operation, **parameters)

    def pages(
        self, table: Literal["quota", "usage"], operation: str, **parameters: Any
    ) -> AsyncIterator[Mapping[str, Any]]:
        """The items of a scan or a query of one table, see `aws.pages`. Raises LedgerUnavailable."""
        return aws.pages(self._client, operation, TableName=self.tables[table], **parameters)

    async def period_in_force(self) -> str | None:
        """The kind of period that the process that started last goes by; None if none has said so yet."""
        answer = await self._get(items.IN_FORCE_KEY)
        return str(answer["Item"]["period"]["S"]) if "Item" in answer else None

    async def put_in_force(self, kind: periods.Kind) -> None:
        """Say by which kind of period this process goes."""
        item = {**items.IN_FORCE_KEY, "period": {"S": kind}}
        await aws.call(self._client, "put_item", TableName=self._quota, Item=item)

    async def ping(self) -> None:
        """Raise LedgerUnavailable if DynamoDB does not answer now."""
        await self._get({"client_id": {"S": "-"}, "book": {"S": "-"}})

    async def check(self) -> None:
        """Raise SettingsError if a table is missing, LedgerUnavailable if DynamoDB does not answer."""
        for table in (self._quota, self._usage):
            try:
                await aws.call(self._client, "describe_table", TableName=table)
            except aws.Refused as exc:
                raise SettingsError(f"DYNAMODB_TABLE_PREFIX: there is no table {table}; run `gptdock tables`") from exc

    async def create_tables(self) -> None:
        """Create both tables, and turn on the TTL of `usage`; what exists already stays as it is."""
        await aws.create_table(self._client, self._quota, "client_id", "book")
        await aws.create_table(self._client, self._usage, "account", "receipt")
        answer = await aws.call(self._client, "describe_time_to_live", TableName=self._usage)
        if answer["TimeToLiveDescription"]["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
            spec = {"Enabled": True, "AttributeName": "expires_at"}
            await aws.call(self._client, "update_time_to_live", TableName=self._usage, TimeToLiveSpecification=spec)

    def hidden(self, account: Account) -> Account | None:
        """The account under the client's pseudonym; None without a FORGET_KEY."""
        if self._pseudonyms is None:
            return None
        return account._replace(client_id=self._pseudonyms.of("client", account.client_id))

    async def _was_forgotten(self, account: Account) -> bool:
        hidden = self.hidden(account)
        return hidden is not None and await self.client(hidden) is not None

    async def _get(self, key: items.Item) -> Mapping[str, Any]:
        return await aws.call(self._client, "get_item", TableName=self._quota, Key=key, ConsistentRead=True)


def _new_max(client: Client | None, default_max: int) -> int:
    return client.max_quota if client and not client.follows_default else default_max
