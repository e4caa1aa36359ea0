"""A client is imported once, into the period in which that began, at a bounded rate."""

import pytest

from gptdock.accounts import once
from gptdock.admin.changes import Credit
from gptdock.admin.import_rows import Brought
from gptdock.admin.importing import Import, Pace
from gptdock.errors import InvalidRequest, LedgerUnavailable
from gptdock.ledger.store import Store
from tests.harness.admin import ACCOUNT, ANNA, NOW, book_of, operate
from tests.harness.forgetting import KEY, check_balance, forgetting
from tests.harness.ledgers import at
from tests.harness.proxy import proxied
from tests.harness.service import NOBODY, make_settings

COMES = Brought(ACCOUNT, 100, 50, {"u1": 20, "u2": 10})


def importing(store: Store, period: str) -> Import:
    return Import(at(store, lambda: NOW), period, "cli:anna", 10_000)


async def killed_before_the_change(dynamodb: str, period: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what an import leaves that is killed when the receipts of the users are put."""
    monkeypatch.setattr("gptdock.admin.importing.PATIENCE_SECONDS", 0.001)
    async with proxied(dynamodb) as proxy, Store.connected(make_settings(proxy.url, NOBODY)) as behind:
        proxy.strike("pass", "hole", "hole", operation="TransactWriteItems")
        with pytest.raises(LedgerUnavailable):
            await importing(behind, period).bring(COMES)
    monkeypatch.undo()


@pytest.mark.usefixtures("deadlines_as_served")
async def test_a_client_goes_on_in_the_period_in_which_its_import_began(
    store: Store, dynamodb: str, monkeypatch: pytest.MonkeyPatch
):
    await killed_before_the_change(dynamodb, "2026-11", monkeypatch)
    in_december = importing(store, "2026-12")

    assert await in_december.bring(COMES)

    book = await book_of(store, "2026-11")
    assert (book.max, book.used, await in_december.imported(ACCOUNT)) == (100, 50, 50)
    assert await store.read(ACCOUNT, "2026-12") is None
    await check_balance(store)


@pytest.mark.usefixtures("deadlines_as_served")
async def test_a_user_who_is_gone_since_a_kill_is_part_of_what_was_used(
    store: Store, dynamodb: str, monkeypatch: pytest.MonkeyPatch
):
    await killed_before_the_change(dynamodb, "all", monkeypatch)

    assert await importing(store, "all").bring(Brought(ACCOUNT, 100, 50, {"u1": 25}))

    receipts = {receipt.user: receipt.tokens async for _, receipt in store.receipts_since(ACCOUNT)}
    assert receipts == {"u1": 25, "u2": 10, "cli:anna": 15}
    await check_balance(store)


async def test_a_client_that_was_forgotten_is_not_imported_again(store: Store, dynamodb: str):
    await importing(store, "all").bring(COMES)
    await forgetting(store).client(ACCOUNT.client_id)

    async with Store.connected(make_settings(dynamodb, NOBODY, forget_key=KEY)) as keyed:
        assert not await Import(keyed, "all", "cli:anna", 10_000).bring(COMES)

    assert await store.client(ACCOUNT) is None


async def test_a_credit_is_not_taken_for_an_import_whatever_its_id(store: Store):
    await store.open_book(ACCOUNT, "all", 60, "2026-11-01T00:00:00.000Z")
    for credit_id in ("import", "an%20import"):
        await operate(store).credit(ACCOUNT, Credit(5, "an outage", credit_id), ANNA)

    assert await importing(store, "all").bring(COMES)

    assert (await book_of(store)).used == 50
    with pytest.raises(InvalidRequest):
        once("an import", "id")


def test_units_are_spread_and_idle_time_is_not_caught_up_with():
    pace = Pace(10)

    assert pace.seconds(5, 100.0) == 0.5
    assert pace.seconds(5, 100.2) == pytest.approx(0.8)
    assert pace.seconds(5, 200.0) == 0.5
