"""The audit compares books with their receipts, including receipts still in a lease."""

import pytest

from gptdock.accounts import Account
from gptdock.admin.audit import Finding, audit
from gptdock.ledger import verbs
from gptdock.ledger.book import Book, Lease, Receipt, Write
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from tests.harness.ledgers import at

ACCOUNT = Account("c1", "p1")
RECEIPT = Receipt("k", 12, 5, 7, "user", "model", "upstream", "complete", "a", 1)
NOW = 1_000_000
MARCH_8_2026 = 1_772_928_000  # 400 days after January 2025


async def look(store: Store, client_id: str | None = None, now: int = NOW) -> list[Finding]:
    store = at(store, lambda: now)
    return [finding async for finding in audit(store, Sweeper(store, "auditor", grace=10, retain=3600), client_id)]


async def charge(store: Store, lease: Lease, used: int, left: int, period: str = "all") -> None:
    await store.open_book(ACCOUNT, period, 100, "now")
    answer = await store.send(ACCOUNT, period, Write("a", None, lease, left_by=-left, used_by=used))
    assert answer.applied


async def test_a_receipt_still_in_the_book_counts(store: Store):
    await charge(store, Lease(0, 0, 1, NOW, (RECEIPT,)), used=12, left=12)

    [finding] = await look(store)

    assert (finding.receipts, finding.drift, finding.balances) == (12, 0, True)


async def test_a_receipt_in_both_places_counts_once(store: Store):
    await charge(store, Lease(0, 0, 1, NOW, (RECEIPT,)), used=12, left=12)
    await store.put_receipts([(ACCOUNT, "all", RECEIPT)])

    [finding] = await look(store)

    assert (finding.receipts, finding.drift) == (12, 0)


@pytest.mark.parametrize(("period", "expired"), [("2025-01", True), ("2025-02", False), ("all", False)])
async def test_expired_receipts_are_not_drift(store: Store, period: str, expired: bool):
    """Receipts expire 400 days after their period; books stay."""
    await charge(store, Lease(0, 0, 1, NOW), used=13, left=13, period=period)

    [finding] = await look(store, now=MARCH_8_2026)

    assert (finding.expired, finding.balances) == (expired, expired)


async def test_used_tokens_without_a_receipt_are_drift(store: Store):
    await charge(store, Lease(0, 0, 1, NOW, (RECEIPT,)), used=13, left=13)

    [finding] = await look(store)

    assert (finding.drift, finding.balances) == (1, False)


@pytest.mark.parametrize(
    ("left", "held", "used", "fault"),
    [(105, 0, -5, "used < 0"), (105, -5, 0, "left > max"), (-5, 0, 105, ""), (100, 0, 0, "")],
)
async def test_what_no_book_can_come_to_is_named(left: int, held: int, used: int, fault: str):
    book = Book(100, left, used, leases={"a": Lease(held, 0, 1, NOW)})
    finding = Finding(ACCOUNT, "all", book, used, busy=False, expired=False)

    assert (finding.drift, finding.fault, finding.balances) == (0, fault, not fault)


async def test_tokens_neither_left_held_nor_used_are_drift(store: Store):
    await charge(store, Lease(5, 5, 1, NOW), used=0, left=7)

    [finding] = await look(store)

    assert (finding.drift, finding.balances) == (2, False)


async def test_an_audit_sweeps_the_leases_of_lost_processes(store: Store):
    await charge(store, Lease(50, 30, 1, NOW - 11), used=0, left=50)

    [finding] = await look(store)

    assert (finding.book.held, finding.book.used, finding.receipts, finding.drift) == (0, 30, 30, 0)


async def test_an_audit_of_one_client_leaves_others_out(store: Store):
    for client_id in ("c1", "c2"):
        await store.open_book(Account(client_id, "p1"), "all", 100, "now")

    assert len(await look(store)) == 2
    assert [finding.account.client_id for finding in await look(store, "c2")] == ["c2"]


async def test_a_change_of_the_quota_is_applied_once_and_has_a_receipt(store: Store):
    await store.open_book(ACCOUNT, "all", 100, "now")
    change = verbs.set_max(100, 40, RECEIPT._replace(tokens=0))

    assert [await store.change(ACCOUNT, "all", change) for _ in range(3)] == [True, True, True]

    book = await store.read(ACCOUNT, "all")
    assert book
    assert (book.max, book.left, await store.read_max(ACCOUNT)) == (40, 40, 40)
    assert [receipt.key async for receipt in store.receipts(ACCOUNT, "all")] == ["k"]


async def test_a_change_from_another_maximum_is_refused(store: Store):
    await store.open_book(ACCOUNT, "all", 100, "now")

    assert not await store.change(ACCOUNT, "all", verbs.set_max(99, 40, RECEIPT))


@pytest.mark.parametrize("times", [1, 2])
async def test_a_reset_gives_the_used_tokens_back_once(store: Store, times: int):
    await charge(store, Lease(0, 0, 1, NOW, (RECEIPT,)), used=12, left=12)
    change = verbs.reset(Book(100, 88, 12), RECEIPT._replace(key="reset"), NOW)

    for _ in range(times):
        assert await store.change(ACCOUNT, "all", change)

    [finding] = await look(store)
    assert (finding.book.left, finding.book.used, finding.receipts, finding.drift) == (100, 0, 0, 0)


async def test_a_reset_that_was_decided_before_another_is_refused(store: Store):
    """It would give back what was charged since then; if that is a will, its process may yet take it back, too."""
    await store.open_book(ACCOUNT, "all", 100, "now")
    applied = []
    for process, resets in (("a", 0), ("b", 0), ("c", 1), ("d", 1)):
        lease = Lease(0, 0, 1, NOW, (RECEIPT._replace(key=process),))
        assert (await store.send(ACCOUNT, "all", Write(process, None, lease, left_by=-12, used_by=12))).applied
        change = verbs.reset(Book(100, 88, 12, resets=resets), RECEIPT._replace(key=f"reset {process}"), NOW)
        applied.append(await store.change(ACCOUNT, "all", change))

    assert applied == [True, False, True, False]
    [finding] = await look(store)
    assert (finding.book.left, finding.book.used, finding.book.resets, finding.drift) == (76, 24, 2, 0)
