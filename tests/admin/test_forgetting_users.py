"""A user is forgotten, whoever the client is: in receipts, and not before all of them are there."""

import json

from gptdock.ledger.book import Lease, Write
from gptdock.ledger.store import Store
from tests.harness.admin import ACCOUNT, ANNA, operate
from tests.harness.forgetting import KEY, LATER, check_balance, everything, fill, forgetting, receipt, sums


async def test_a_user_is_forgotten_in_the_receipts_of_all_clients(store: Store):
    await fill(store)
    before = await sums(store)

    planned = await forgetting(store).user("u1", dry_run=True)
    assert (planned.receipts, planned.done) == (16, False)
    done = await forgetting(store).user("u1")

    assert (done.receipts, done.done, done.pseudonym) == (16, True, planned.pseudonym)
    items = await everything(store)
    assert '"u1"' not in json.dumps(items)
    assert "#import#u1" not in json.dumps(items)
    told = [item["account"]["S"] for item in items if item.get("source") == {"S": "forget"}]
    assert sorted(told) == ["c1#p%2F2", "c1#p1", "c2#p%2F2"]
    assert await sums(store) == before
    await check_balance(store)
    again = await forgetting(store).user("u1")
    assert (again.receipts, again.done, await everything(store)) == (0, True, items)


async def test_an_operator_is_not_taken_for_a_user(store: Store):
    await fill(store)

    done = await forgetting(store).user("cli:anna")

    assert (done.receipts, done.done) == (0, True)
    assert done.pseudonym not in json.dumps(await everything(store))


async def test_a_user_is_not_done_while_a_receipt_is_in_a_lease(store: Store):
    await store.open_book(ACCOUNT, "all", 100, "now")
    lease = Lease(0, 0, 1, LATER + 60, (receipt("a", 5),))
    assert (await store.send(ACCOUNT, "all", Write("b", None, lease, -5, 5))).applied

    waits = await forgetting(store).user("u1")
    ended = operate(store, lambda: LATER + 200, forget_key=KEY).forgetting(ANNA)
    done = await ended.user("u1")

    assert (waits.leases, waits.receipts, waits.done) == (1, 0, False)
    assert (done.leases, done.receipts, done.done) == (0, 1, True)
