"""Moves what a client or a user left behind under a pseudonym, in both tables. Nothing else is changed: sums stay.

Each step is one transaction, which takes an item away where it was and writes it where it belongs, or neither. So a
kill between two steps loses nothing and doubles nothing, and whoever goes on needs to know nothing: what is moved is
gone from where it was. A step is refused if an item is not as it was read.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gptdock.accounts import Account
from gptdock.ledger import aws, items, receipt_items
from gptdock.ledger.book import Book, Client, Receipt
from gptdock.ledger.conditions import absent, key_is, present
from gptdock.ledger.store import PAGE, Store

STEP = 40  # items moved by a transaction: DynamoDB takes 100 writes, and each item needs two

Action = dict[str, Any]


class Left(NamedTuple):
    """What is left of a client under its id: its accounts, its books by account and period, the ids of its changes."""

    clients: list[Client]
    books: list[tuple[Account, str, Book]]
    ids: list[Mapping[str, Any]]  # items


class Found(NamedTuple):
    """A receipt, and its item as it is."""

    account: Account
    receipt: Receipt
    item: Mapping[str, Any]


class Moves:
    """Transactions on the tables of a store. All raise LedgerUnavailable: then the step may be done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._quota, self._usage = ({"TableName": name} for name in store.tables.values())

    async def left(self, client_id: str) -> Left:
        """What is left of this client."""
        left = Left([], [], [])
        query = key_is("client_id", {"S": client_id})
        async for item in self._store.pages("quota", "query", Limit=PAGE, **query):
            seen_at = item[aws.SEEN_AT]
            if whose := items.whose(item):
                left.books.append((*whose, items.to_book(item, seen_at)))
            elif item["book"]["S"].startswith(items.ACCOUNT):
                left.clients.append(items.to_client(item))
            else:
                left.ids.append({name: value for name, value in item.items() if name != aws.SEEN_AT})
        return left

    async def receipts(self, account: Account) -> AsyncIterator[Found]:
        """The receipts of a client in `usage`."""
        query = key_is("account", receipt_items.usage_key(account))
        async for item in self._store.pages("usage", "query", Limit=PAGE, **query):
            yield _found(item)

    async def first_receipts(self, account: Account) -> list[Found]:
        """The first STEP of them."""
        query = key_is("account", receipt_items.usage_key(account))
        answer = await self._store.call("query", **self._usage, ConsistentRead=True, Limit=STEP, **query)
        return [_found(item) for item in answer["Items"]]

    async def receipts_of_user(self, user: str) -> AsyncIterator[Found]:
        """All receipts in `usage` that name this user, whoever the client is; the whole table is read."""
        only = {
            "FilterExpression": "#u = :u",
            "ExpressionAttributeNames": {"#u": "user"},
            "ExpressionAttributeValues": {":u": {"S": user}},
        }
        async for item in self._store.pages("usage", "scan", Limit=PAGE, **only):
            yield _found(item)

    async def account(
        self, client: Client, books: Sequence[tuple[str, Book]], to: str, period: str, told: Receipt
    ) -> bool:
        """Move an account and up to STEP of its books to the client `to`, and write a receipt that tells so.

        The account has no quota there, so that no later period has one. False if something is not as it was read.
        """
        here, there = client.account, client.account._replace(client_id=to)
        known = {"max_quota": items.number(0), "created_at": {"S": client.created_at}}
        actions: list[Action] = [
            {"Delete": {**self._quota, "Key": items.account_key(here), **present("client_id")}},
            {"Put": {**self._quota, "Item": {**items.account_key(there), **known}}},
            {"Put": {**self._usage, "Item": receipt_items.to_item(there, period, told), **absent("receipt")}},
        ]
        return await self._send([*actions, *[each async for each in self._books(here, there, books)]])

    async def books(self, here: Account, books: Sequence[tuple[str, Book]], to: str) -> bool:
        """Move up to STEP books, of one account. False if one of them is not as it was read."""
        there = here._replace(client_id=to)
        return await self._send([each async for each in self._books(here, there, books)])

    async def ids(self, found: Sequence[Mapping[str, Any]], to: str) -> bool:
        """Move up to STEP items of the ids of changes. False if one of them is gone."""
        return await self._send([each for item in found for each in self._id(item, to)])

    async def rewritten(self, found: Sequence[Found], new: Sequence[Receipt], to: str = "", *told: Action) -> bool:
        """Replace up to STEP receipts by new ones, under the client `to`, if given; False if one of them is gone."""
        actions = [each for old, receipt in zip(found, new, strict=True) for each in self._receipt(old, receipt, to)]
        return await self._send([*told, *actions])

    def telling(self, account: Account, period: str, told: Receipt) -> Action:
        """To write this receipt, which must be new."""
        return {"Put": {**self._usage, "Item": receipt_items.to_item(account, period, told), **absent("receipt")}}

    async def _books(self, here: Account, there: Account, books: Sequence[tuple[str, Book]]) -> AsyncIterator[Action]:
        for period, book in books:
            yield {"Delete": {**self._quota, "Key": items.book_key(here, period), **_as_read(book)}}
            if await self._store.read(there, period) is None:
                item = {**items.new_book(there, period, 0), **_numbers(book)}
                yield {"Put": {**self._quota, "Item": item, **absent("client_id")}}
            else:
                yield {"Update": {**self._quota, "Key": items.book_key(there, period), **_added(book)}}

    def _id(self, item: Mapping[str, Any], to: str) -> Iterator[Action]:
        key = {name: item[name] for name in ("client_id", "book")}
        yield {"Delete": {**self._quota, "Key": key, **present("client_id")}}
        yield {"Put": {**self._quota, "Item": {**item, "client_id": {"S": to}}}}

    def _receipt(self, old: Found, new: Receipt, to: str) -> Iterator[Action]:
        account = receipt_items.usage_key(old.account._replace(client_id=to)) if to else old.item["account"]
        key = {name: old.item[name] for name in ("account", "receipt")}
        item = {**old.item, "account": account, "receipt": {"S": new.key}, "user": {"S": new.user}}
        if (item["account"], item["receipt"]) == (key["account"], key["receipt"]):
            yield {"Put": {**self._usage, "Item": item, **present("receipt")}}
            return
        yield {"Delete": {**self._usage, "Key": key, **present("receipt")}}
        yield {"Put": {**self._usage, "Item": item}}

    async def _send(self, actions: list[Action]) -> bool:
        try:
            await self._store.call("transact_write_items", TransactItems=actions)
        except aws.Refused:
            return False
        return True


def _found(item: Mapping[str, Any]) -> Found:
    bare = {name: value for name, value in item.items() if name != aws.SEEN_AT}
    return Found(receipt_items.usage_account(item), receipt_items.to_receipt(item), bare)


def _numbers(book: Book) -> items.Item:
    return {"max": items.number(book.max), "left": items.number(book.left), "used": items.number(book.used)}


def _as_read(book: Book) -> dict[str, Any]:
    """That the numbers are as they were read. A hold, a charge or a change since would have changed one of them."""
    names = {f"#{name}": name for name in _numbers(book)}
    return {
        "ConditionExpression": " AND ".join(f"#{name} = :{name}" for name in _numbers(book)),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {f":{name}": value for name, value in _numbers(book).items()},
    }


def _added(book: Book) -> dict[str, Any]:
    return {
        "UpdateExpression": "SET " + ", ".join(f"#{name} = #{name} + :{name}" for name in _numbers(book)),
        "ConditionExpression": "attribute_exists(#left)",
        "ExpressionAttributeNames": {f"#{name}": name for name in _numbers(book)},
        "ExpressionAttributeValues": {f":{name}": value for name, value in _numbers(book).items()},
    }
