"""For tests of an operator's work: `Clients` whose clock stands at `NOW`, and books of `ACCOUNT` to work on."""

from collections.abc import Callable

from gptdock.accounts import Account
from gptdock.admin.audit import audit
from gptdock.admin.changes import Operator
from gptdock.admin.clients import Clients
from gptdock.ledger.book import Book, Lease, Receipt, Write
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from tests.harness.ledgers import at
from tests.harness.service import NOBODY, make_settings

ACCOUNT = Account("c1", "p1")
ANNA = Operator("cli:anna", "r1")
NOW = 1795400000  # 2026-11-23T02:13:20Z
RECEIPT = Receipt("2026-11-23T02:13:19.000Z#r#p.1", 12, 5, 7, "u1", "model", "upstream", "complete", "a", 1)


def operate(store: Store, clock: Callable[[], float] = lambda: NOW, **changes: object) -> Clients:
    return Clients(at(store, clock), make_settings("http://127.0.0.1:1", NOBODY, **changes))


async def charge(store: Store, period: str, *receipts: Receipt, lease: Lease | None = None, most: int = 100) -> None:
    """Open a book of `most` tokens, charge and store these receipts, and give process `b` this lease, if any."""
    await store.open_book(ACCOUNT, period, most, "2026-11-01T00:00:00.000Z")
    used, held = sum(receipt.tokens for receipt in receipts), lease.held if lease else 0
    writes = [Write("a", None, Lease(0, 0, 1, NOW, receipts), left_by=-used, used_by=used)]
    writes += [Write("b", None, lease, left_by=-held)] if lease else []
    assert all([(await store.send(ACCOUNT, period, write)).applied for write in writes])
    if receipts:
        await store.put_receipts([(ACCOUNT, period, receipt) for receipt in receipts])


async def check_balance(store: Store) -> None:
    now = at(store, lambda: NOW)
    findings = [finding async for finding in audit(now, Sweeper(now, "", 10, 3600))]
    assert findings
    assert [finding for finding in findings if finding.drift] == []


async def book_of(store: Store, period: str = "all") -> Book:
    book = await store.read(ACCOUNT, period)
    assert book
    return book
