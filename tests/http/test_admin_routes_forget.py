"""A client and a user are forgotten by the admin route, while a process serves."""

import asyncio
import json

from gptdock.accounts import Account
from gptdock.admin.audit import audit
from gptdock.ledger.sweeper import Sweeper
from tests.harness.hostile import Fault, fault_of
from tests.harness.operator import read
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import Service

KEY = "k" * 32
QUICK = {"lease_seconds": 1, "lease_grace_seconds": 0, "progress_seconds": 0.2, "forget_key": KEY}
ODD: tuple[object, ...] = (0, 1, "", "yes", {}, [])
BAD: list[tuple[dict[str, object], str]] = [
    ({}, "client_id"),
    ({"client_id": "c1", "user_id": "u7"}, "client_id"),
    ({"client_id": 1.5}, "client_id"),
    ({"user_id": ""}, "user_id"),
    *(({"user_id": "u", "dry_run": odd}, "dry_run") for odd in ODD),
]


async def forget(service: Service, **body: object):
    async with service.admin("POST", "forget", json=body) as response:
        return await read(response)


async def test_a_client_is_forgotten_once_no_process_serves_it_and_gets_no_new_quota(serve):
    async with serve(**QUICK) as service:
        async with service.ask() as response:
            await response.read()
        used = await service.used()

        served = await forget(service, client_id="c1")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (done := await forget(service, client_id="c1"))["done"]:
                pass

        assert (served["done"], served["leases"], served["books"]) == (False, 1, 0)
        assert (done["books"], done["receipts"], done["leases"]) == (1, 1, 0)
        hidden = Account(done["pseudonym"], "p1")
        book = await service.store.read(hidden, "all")
        assert book
        assert (book.used, book.left, book.held) == (used, 500_000 - used, 0)
        users = {each.user async for _, each in service.store.receipts_since(hidden) if each.source == "upstream"}
        assert not users & {"u7"}
        async with service.ask() as response:
            assert response.status == 402
        assert await service.store.read_max(Account("c1", "p1")) == 0
        findings = [each async for each in audit(service.store, Sweeper(service.store, None, 0, 3600))]
        assert [each.balances for each in findings] == [True, True]


async def test_a_user_is_counted_and_then_forgotten(serve):
    async with serve(**QUICK) as service:
        async with service.ask() as response:
            await response.read()
        await service.ledger.settled()
        planned = await forget(service, user_id="u7", dry_run=True)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (done := await forget(service, user_id="u7"))["done"]:
                pass

        assert (planned["receipts"], planned["leases"], planned["done"]) == (1, 1, False)
        assert done["pseudonym"] == planned["pseudonym"]
        receipts = await service.receipts()
        assert {each["user"] for each in receipts if each["source"] == "upstream"} == {done["pseudonym"]}
        assert '"u7"' not in json.dumps(receipts)


async def test_a_body_that_names_nobody_or_two_is_refused(serve):
    async with serve(forget_key=KEY) as service:
        for body, param in BAD:
            async with service.admin("POST", "forget", json=body) as response:
                assert (body, await fault_of(response)) == (body, Fault(400, "invalid_request", param))


async def test_nobody_is_forgotten_by_a_process_without_a_key(service):
    async with service.admin("POST", "forget", json={"user_id": "u7"}) as response:
        assert response.status == 400
        assert "FORGET_KEY is not set" in await response.text()
