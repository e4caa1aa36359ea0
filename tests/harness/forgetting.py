"""For tests of forgetting: clients with all that may be left of one, and sums over all items of both tables."""

from collections import Counter
from typing import Any

from gptdock.accounts import Account
from gptdock.admin.audit import audit
from gptdock.admin.changes import Credit
from gptdock.admin.forgetting import Forgetting
from gptdock.admin.import_rows import Brought
from gptdock.admin.importing import Import
from gptdock.ledger.book import Receipt
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from tests.harness.admin import ACCOUNT, ANNA, NOW, RECEIPT, charge, operate
from tests.harness.ledgers import at
from tests.harness.service import NOBODY, make_settings

KEY = "k" * 32
LATER = NOW + 100  # when the leases of `charge` have ended


def forgetting(store: Store, **changes: Any) -> Forgetting:
    return operate(store, lambda: LATER, **{"forget_key": KEY} | changes).forgetting(ANNA)


def receipt(name: str, tokens: int, user: str = "u1") -> Receipt:
    return RECEIPT._replace(key=f"2026-11-23T02:13:19.000Z#{name}#p.1", tokens=tokens, user=user)


async def fill(store: Store) -> None:
    """Client c1 with three books, a credit and an imported product; client c2 with the same users."""
    await charge(store, "2026-10", receipt("a", 5))
    await charge(store, "2026-11", receipt("b", 7), receipt("c", 11, "u2"), receipt("d", 13, "-"))
    await charge(store, "all", *(receipt(f"r{number:03}", 1) for number in range(12)))
    await operate(store, quota_period="month").credit(ACCOUNT, Credit(30, "an outage", "ticket-1"), ANNA)
    bringing = Import(at(store, lambda: NOW), "all", "cli:anna", 1000)
    for client_id in ("c1", "c2"):
        await bringing.bring(Brought(Account(client_id, "p/2"), 900, 50, {"u1": 20, "u2": 10}))


async def everything(store: Store) -> list[dict[str, Any]]:
    """All items of both tables."""
    found = []
    for table in store.tables.values():
        found += (await store.call("scan", TableName=table, ConsistentRead=True))["Items"]
    return found


async def sums(store: Store) -> Counter[str]:
    """The numbers of all books, and the tokens of all receipts."""
    counted: Counter[str] = Counter()
    for item in await everything(store):
        for name in ("max", "left", "used", "tokens"):
            counted[name] += int(item[name]["N"]) if name in item and "max_quota" not in item else 0
    return counted


async def check_balance(store: Store) -> None:
    now = at(store, lambda: LATER)
    findings = [each async for each in audit(now, Sweeper.of(now, None, make_settings("http://127.0.0.1:1", NOBODY)))]
    assert findings
    assert all(each.balances for each in findings)
