"""A client is forgotten: a pseudonym takes its place everywhere, and every sum stays."""

import asyncio
import json
from collections import Counter

import pytest

from gptdock.accounts import Account
from gptdock.admin.audit import audit
from gptdock.errors import InvalidRequest, SettingsError
from gptdock.ledger.book import Lease, Write
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from tests.harness.admin import ACCOUNT, ANNA, charge, operate
from tests.harness.forgetting import KEY, LATER, check_balance, everything, fill, forgetting, receipt, sums
from tests.harness.ledgers import at
from tests.harness.proxy import Fault, Proxy
from tests.harness.service import NOBODY, make_settings


async def test_a_forgotten_client_is_nowhere_and_every_sum_stays(store: Store):
    await fill(store)
    before = await sums(store)

    done = await forgetting(store).client("c1")

    assert (done.books, done.leases, done.done) == (4, 0, True)
    text = json.dumps(await everything(store))
    assert '"c1' not in text
    assert text.count('"u1"') == 1, "that of c2"
    assert await sums(store) == before
    await check_balance(store)
    hidden = Account(done.pseudonym, "p1")
    told = [each async for _, each in store.receipts_since(hidden)]
    assert [(each.user, each.outcome) for each in told if each.source == "forget"] == [("cli:anna", "client")]
    assert {each.user for each in told if each.source == "credit"} == {"cli:anna"}
    users = Counter(each.user[:10] for each in told if each.source == "upstream")
    assert users == {"forgotten-": 15, "-": 1}
    assert len({each.user for each in told if each.source == "upstream"}) == 3
    assert (await store.client(hidden))._replace(created_at="") == (hidden, 0, "", False)  # type: ignore[union-attr]


async def test_a_client_that_was_forgotten_is_not_forgotten_again(store: Store):
    await fill(store)
    done = await forgetting(store).client("c1")
    before = await everything(store)

    again = await forgetting(store).client("c1")
    of_its_pseudonym = await forgetting(store).client(done.pseudonym)

    assert (again.books, again.receipts, again.done) == (of_its_pseudonym.books, of_its_pseudonym.receipts, True)
    assert (again.books, again.receipts, again.pseudonym) == (0, 0, done.pseudonym)
    assert await everything(store) == before


@pytest.mark.parametrize("faults", [["mute"], ["pass", "hole"]], ids=["applied", "not applied"])
async def test_a_forgetting_that_is_killed_at_each_step_goes_on(
    store: Store, behind: Store, proxy: Proxy, faults: list[Fault], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gptdock.ledger.moves.STEP", 8)  # receipts, of 20
    monkeypatch.setattr("gptdock.admin.forgetting.STEP", 1)  # book
    await fill(store)
    before, kills = await sums(store), 0

    while await _is_killed(behind, proxy, faults):
        kills += 1
        assert await sums(store) == before
        accounts = [each async for each in store.clients() if each.account.client_id == "c1"]
        assert len(accounts) == max(0, 2 - kills), "these go first"

    assert kills >= 9
    assert '"c1' not in json.dumps(await everything(store))
    await check_balance(store)


async def _is_killed(behind: Store, proxy: Proxy, faults: list[Fault]) -> bool:
    """Begin to forget; false if that ends before the last of these faults."""
    proxy.faults.clear()
    proxy.strike(*faults, operation="TransactWriteItems")
    acting, struck = asyncio.create_task(forgetting(behind).client("c1")), asyncio.create_task(proxy.struck.wait())
    await asyncio.wait([acting, struck], return_when=asyncio.FIRST_COMPLETED)
    for task in (acting, struck):
        task.cancel()
    return not isinstance((await asyncio.gather(acting, struck, return_exceptions=True))[0], tuple)


async def test_two_who_forget_a_client_at_once_move_all_of_it_once(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gptdock.ledger.moves.STEP", 8)
    await fill(store)
    before = await sums(store)

    both = await asyncio.gather(*(forgetting(store).client("c1") for _ in range(2)))

    assert all(each.done for each in both)
    assert await sums(store) == before
    await check_balance(store)


async def test_a_client_is_not_forgotten_while_a_process_has_a_lease(store: Store):
    await fill(store)
    await charge(store, "2026-09", lease=Lease(50, 30, 1, LATER + 60))
    before = await sums(store)

    held = await forgetting(store).client("c1")

    assert (held.leases, held.books, held.receipts, held.done) == (1, 0, 0, False)
    assert held.pseudonym not in json.dumps(await everything(store))
    assert await sums(store) == before


async def test_a_hold_that_is_taken_meanwhile_is_not_lost(store: Store, behind: Store, proxy: Proxy):
    await charge(store, "all", receipt("a", 5))
    proxy.strike("late", operation="TransactWriteItems")
    acting = asyncio.create_task(forgetting(behind).client("c1"))
    await proxy.struck.wait()

    assert (await store.send(ACCOUNT, "all", Write("b", None, Lease(20, 9, 1, LATER + 60), -20))).applied
    done = await acting

    assert await proxy.release() == [400]
    assert (done.leases, done.done) == (1, False)
    await check_balance(store)


async def test_a_forgotten_client_that_asks_again_has_no_quota_until_it_is_given_one(store: Store, dynamodb: str):
    await fill(store)
    await forgetting(store).client("c1")
    settings = make_settings(dynamodb, NOBODY, forget_key=KEY)

    async with Store.connected(settings) as serving:
        await serving.open_book(ACCOUNT, "all", 500, "now")
        await serving.open_book(Account("c3", "p1"), "all", 500, "now")
        first = [await serving.read_max(each, 500) for each in (ACCOUNT, Account("c3", "p1"))]
        await operate(serving).set_quota(ACCOUNT, 70, ANNA)
        await charge(serving, "2026-12", receipt("z", 9), most=1)

    again = await forgetting(store).client("c1")
    assert (first, again.books, again.done) == ([0, 500], 2, True)
    book = await store.read(Account(again.pseudonym, "p1"), "all")
    assert book
    assert (book.max, book.used) == (100 + 70, 12), "both times"
    await check_balance(store)


async def test_an_audit_passes_over_books_that_are_moved_meanwhile(store: Store):
    await fill(store)
    now = at(store, lambda: LATER)
    found = audit(now, Sweeper(now, None, 10, 3600))
    first = await anext(found)

    await forgetting(store).client("c1")

    assert (first.account.client_id, {each.account.client_id async for each in found}) == ("c1", {"c2"})


async def test_a_dry_run_changes_nothing(store: Store):
    await fill(store)
    before = await everything(store)

    client, user = [await act("c1", dry_run=True) for act in (forgetting(store).client, forgetting(store).user)]

    assert await everything(store) == before
    assert (client.books, client.receipts, client.leases, client.done) == (4, 20, 3, False)
    assert (user.books, user.receipts, user.done) == (0, 0, False)


async def test_nobody_is_forgotten_without_a_key_of_its_own(store: Store):
    with pytest.raises(InvalidRequest, match="FORGET_KEY is not set"):
        forgetting(store, forget_key="")
    for name in ("pre_shared_key", "admin_key", "open_ai_key"):
        with pytest.raises(SettingsError, match="FORGET_KEY must differ from all other keys"):
            make_settings("http://127.0.0.1:1", NOBODY, forget_key=KEY, **{name: KEY})
