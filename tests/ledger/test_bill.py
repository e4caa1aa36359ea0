"""What DynamoDB bills for a request is what the guide for operators says."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from gptdock.accounts import Account
from gptdock.ledger.holds import Claim, Ledger
from tests.documents.test_cost_table import TO_BEGIN, WITHOUT_RENEWALS
from tests.harness.bill import Bill
from tests.harness.ledgers import Clock, Start, charge
from tests.harness.proxy import proxied


@pytest.fixture
async def proxy(dynamodb: str, clock: Clock) -> AsyncIterator[Bill]:
    async with proxied(dynamodb, clock, Bill) as bill:
        assert isinstance(bill, Bill)
        yield bill


async def ask(ledger: Ledger, client_id: str, together: asyncio.Barrier) -> None:
    """A request with ids as long as usual, which ends once all others are admitted."""
    account = Account(client_id, "our-product")
    claim = Claim(account, f"user-{secrets.randbelow(1000)}", "model", secrets.token_hex(16), 1, 1)
    async with ledger.hold(claim) as hold:
        await together.wait()
        hold.settle(charge(2), "complete")


async def test_a_request_of_a_client_who_asks_seldom_bills_three_units(start: Start, proxy: Bill):
    async with start() as ledger:
        before = proxy.units
        for _ in range(4):
            await ask(ledger, "client-1234", asyncio.Barrier(1))
            await ledger.settled()

        assert proxy.units - before == TO_BEGIN + 4 * WITHOUT_RENEWALS


async def test_many_requests_of_a_client_at_once_bill_less_than_three_units_each(start: Start, proxy: Bill):
    async with start() as ledger:
        before, together = proxy.units, asyncio.Barrier(50)
        await asyncio.gather(*(ask(ledger, "client-1234", together) for _ in range(50)))
        await ledger.settled()

        assert proxy.units - before < TO_BEGIN + 50 * WITHOUT_RENEWALS
