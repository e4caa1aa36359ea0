"""Books, writes and receipts as DynamoDB has them: the real expressions against the reference in `world`."""

import json
import random
from dataclasses import replace

import pytest

from gptdock.accounts import Account
from gptdock.ledger import items, receipt_items
from gptdock.ledger.book import Book, Lease, Receipt, Write
from gptdock.ledger.store import Store
from tests.harness import world

ACCOUNT = Account("c#1/ä", "p 1")
RECEIPT = Receipt("2026-11-23T02:13:20.123Z#r#p.1", 12, 5, 7, "user", "model", "upstream", "complete", "p", 3)


def _random_write(rng: random.Random) -> Write:
    process = rng.choice(["a1", "b2"])
    lease = Lease(
        rng.randint(0, 9), rng.randint(0, 9), rng.randint(-3, 3), rng.randint(0, 5), (RECEIPT,), rng.randint(0, 9)
    )
    expected_number = rng.choice([None, rng.randint(-3, 3)])
    new = lease if expected_number is None or rng.random() < 0.8 else None
    return Write(
        process=process,
        expected_number=expected_number,
        lease=new,
        left_by=rng.randint(-5, 5),
        used_by=rng.randint(-5, 5),
        needed=rng.choice([None, rng.randint(-3, 15)]),
        fence=None if new else rng.randint(0, 5),
        expected_will=rng.choice([None, None, rng.randint(0, 9)]) if expected_number is not None else None,
    )


@pytest.mark.parametrize("seed", range(4))
async def test_a_write_is_applied_by_dynamodb_as_by_the_reference(store: Store, seed: int):
    rng = random.Random(seed)
    await store.open_book(ACCOUNT, "all", 10, "now")
    book = Book(10, 10, 0)

    for _ in range(150):
        write = _random_write(rng)
        answer = await store.send(ACCOUNT, "all", write)
        assert answer.applied == world.holds(book, write)
        book = world.apply(book, write) if answer.applied else book
        assert answer.book == book


def test_a_receipt_of_a_period_expires_400_days_after_its_end():
    item = receipt_items.to_item(ACCOUNT, "2026-11", RECEIPT)

    assert item["expires_at"] == {"N": str(1796083200 + 400 * 86400)}
    assert item["account"] == {"S": "c%231%2F%C3%A4#p%201"}


@pytest.mark.parametrize("cached", [(0, 0), (3, 2), (0, 10**9)])
def test_a_lease_keeps_what_was_cached_and_thought(cached: tuple[int, int]):
    lease = Lease(0, 0, 1, 9, (RECEIPT, RECEIPT._replace(cached_tokens=cached[0], reasoning_tokens=cached[1]), RECEIPT))

    fields = items._from_lease(lease)

    assert items._to_lease(fields) == lease
    assert ("d" in fields) == any(cached)


def test_an_earlier_version_reads_the_leases_of_this_one():
    """It shares the books during an upgrade, and makes a receipt of all that is in a text."""
    fields = items._from_lease(Lease(11, 2, -5, 9, (RECEIPT._replace(cached_tokens=3, reasoning_tokens=2),)))

    assert [json.loads(text["S"]) for text in fields["q"]["L"]] == [list(RECEIPT[:10])]


def test_a_lease_of_an_earlier_version_has_no_details():
    fields = items._from_lease(Lease(11, 2, -5, 9, (RECEIPT._replace(cached_tokens=3), RECEIPT)))
    del fields["d"]

    assert items._to_lease(fields).receipts == (RECEIPT, RECEIPT)


def test_no_receipt_of_a_lease_is_lost_whatever_its_details():
    fields = items._from_lease(Lease(11, 2, -5, 9, (RECEIPT._replace(cached_tokens=3), RECEIPT, RECEIPT)))

    for details, cached in (("3 0;", 3), ("", 0), (";", 0), ("3 0;0 0;0 0;0 0;", 3)):
        receipts = items._to_lease(fields | {"d": {"S": details}}).receipts
        assert receipts == (RECEIPT._replace(cached_tokens=cached), RECEIPT, RECEIPT)


def test_a_receipt_of_an_earlier_version_has_nothing_cached():
    receipt = RECEIPT._replace(cached_tokens=3, reasoning_tokens=2)
    item = receipt_items.to_item(ACCOUNT, "all", receipt)

    assert receipt_items.to_receipt(item) == receipt
    del item["cached_tokens"], item["reasoning_tokens"]
    assert receipt_items.to_receipt(item) == RECEIPT


def test_a_receipt_without_period_stays():
    assert "expires_at" not in receipt_items.to_item(ACCOUNT, "all", RECEIPT)


def test_books_of_different_accounts_never_share_a_key():
    keys = [items.book_key(Account(*ids), "all") for ids in [("a#b", "c"), ("a", "b#c"), ("a", "b"), ("a#b#c", "")]]

    assert len({str(key) for key in keys}) == len(keys)


def test_a_book_survives_the_way_there_and_back():
    book = Book(10, -4, 3, fence=7, leases={"p": Lease(11, 2, -5, 9, (RECEIPT,), requests=3)})
    item = items.new_book(ACCOUNT, "all", 10) | {
        "left": items.number(-4),
        "used": items.number(3),
        "f": items.number(7),
        "l#p": {"M": items._from_lease(book.leases["p"])},
    }

    assert items.to_book(item, seen_at=0) == book
    del item["l#p"]["M"]["r"]
    assert items.to_book(item, seen_at=0).leases["p"].requests == 0, "of an earlier version"
    assert replace(book, leases={}) != book
