"""Quotas that an operator sets and resets."""

import asyncio
import hashlib
import logging

import pytest

from gptdock.accounts import Account
from gptdock.admin.audit import audit
from gptdock.dev.script import Script
from gptdock.ledger.sweeper import Sweeper
from tests.harness.hostile import Fault, fault_of
from tests.harness.operator import overview, read, set_quota
from tests.harness.service import ADMIN_KEY, sse_data

UNKNOWN = Fault(404, "client_not_found")
WHO = "client_id=c1&product_id=p1"


async def check_balance(service) -> None:
    """As `gptdock audit` would find it."""
    await service.ledger.settled()
    sweeper = Sweeper(service.store, service.ledger.process, 10, 3600)
    findings = [finding async for finding in audit(service.store, sweeper)]
    assert findings
    assert [finding for finding in findings if finding.drift] == []


async def test_a_quota_is_set_and_told_and_set_again(service, caplog):
    caplog.set_level(logging.INFO)

    first = await set_quota(service, 750_000)

    assert (first["max_quota"], first["books"][0]["quota_left"]) == (750_000, 750_000)
    assert await set_quota(service, 750_000) == first == await overview(service)
    name = f"key:{hashlib.sha256(ADMIN_KEY.encode()).hexdigest()[:12]}"
    receipts = await service.receipts()
    assert [(each["user"], each["source"], each["tokens"]) for each in receipts] == [(name, "set_quota", 0)] * 2
    [record, _] = [record for record in caplog.records if record.getMessage() == "quota set"]
    assert record.operator == name
    assert ADMIN_KEY not in caplog.text
    await check_balance(service)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", "body"),
        (b"[750000]", "body"),
        (b'{"max_quota": 1, "max_quota": 2}', "body"),
        (b'{"max_quota": NaN}', "body"),
        (b"{}", "max_quota"),
        (b'{"max_quota": null}', "max_quota"),
        (b'{"max_quota": true}', "max_quota"),
        (b'{"max_quota": "750000"}', "max_quota"),
        (b'{"max_quota": 1.0}', "max_quota"),
        (b'{"max_quota": -1}', "max_quota"),
        (b'{"max_quota": 1000000000000001}', "max_quota"),
    ],
)
async def test_a_quota_that_is_not_an_integer_in_range_is_refused(service, body: bytes, param: str):
    url, headers = f"{service.url}/v1/admin/client/quota?{WHO}", {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with service.session.put(url, data=body, headers=headers) as response:
        assert await fault_of(response) == Fault(400, "invalid_request", param)
    async with service.admin("GET", "client") as response:
        assert await fault_of(response) == UNKNOWN


@pytest.mark.parametrize("max_quota", [0, 10**15])
async def test_the_least_and_the_largest_quota_are_quotas(service, max_quota: int):
    shown = await set_quota(service, max_quota)

    assert shown["books"][0]["quota_left"] == max_quota


async def test_a_quota_below_what_is_held_refuses_until_it_fits(serve):
    async with serve(max_completion_tokens=1000) as service:
        service.openai.script = Script(tokens=20, hold_at=5)
        async with service.ask(stream=True) as stream:
            await service.openai.journal.sent(5)
            held = (await service.store.read(Account("c1", "p1"), "all")).held

            [book] = (await set_quota(service, 100))["books"]

            assert (book["quota_held"], book["quota_left"]) == (held, 100 - held)
            async with service.ask() as refused:
                assert await fault_of(refused) == Fault(429, "quota_on_hold")
            service.openai.release()
            assert sse_data(await stream.read())[-1] == b"[DONE]"

        await set_quota(service, 5000)
        service.openai.script = Script(tokens=20)
        async with service.ask() as response:
            assert response.status == 200
        used = sum(record.spent for record in service.openai.journal)
        [book] = (await overview(service))["books"]
        assert (book["quota_used"], book["quota_held"], book["quota_left"]) == (used, 0, 5000 - used)
        await check_balance(service)


async def test_quotas_set_while_streams_come_and_go_leave_the_books_right(service):
    async def ask() -> int:
        async with service.ask(stream=True) as response:
            await response.read()
            return response.status

    async with asyncio.TaskGroup() as group:
        asks = [group.create_task(ask()) for _ in range(20)]
        sets = [group.create_task(set_quota(service, 100_000 + number)) for number in range(5)]

    assert {asked.result() for asked in asks} == {200}
    for shown in [each.result() for each in sets] + [await overview(service)]:
        [book] = shown["books"]
        assert book["quota_left"] + book["quota_held"] + book["quota_used"] == book["max_quota"]
    [book] = (await overview(service))["books"]
    assert book["max_quota"] == (await overview(service))["max_quota"]
    assert book["quota_used"] == sum(record.spent for record in service.openai.journal)
    assert len(await service.receipts()) == 25
    await check_balance(service)


async def test_an_answer_that_was_open_at_a_reset_is_charged_afterwards(service):
    async with service.ask() as response:
        await response.read()
    service.openai.script = Script(tokens=20, hold_at=5)
    async with service.ask(stream=True) as stream:
        await service.openai.journal.sent(5)

        async with service.admin("POST", "client/reset") as response:
            [book] = (await read(response))["books"]

        assert book["quota_used"] == 0
        assert book["quota_held"] > 0
        service.openai.release()
        await stream.read()
    [book] = (await overview(service))["books"]
    spent = service.openai.journal[1].spent
    assert (book["quota_used"], book["quota_left"]) == (spent, book["max_quota"] - spent)
    [receipt] = [receipt for receipt in await service.receipts() if receipt["source"] == "reset"]
    assert receipt["tokens"] == -service.openai.journal[0].spent
    await check_balance(service)


async def test_a_credit_and_the_default_are_changes_that_may_be_repeated(serve):
    """All bad bodies of one credit, then good ones, in one service."""
    named: dict[str, object] = {"tokens": 1, "reason": "r"}
    bodies: dict[str, list[dict[str, object]]] = {
        "tokens": [{}, {"tokens": 0}, {"tokens": 1.0}, {"tokens": True}, {"tokens": 10**15 + 1}],
        "reason": [{"tokens": 1, "id": "t"}, {"tokens": 1, "id": "t", "reason": ""}],
        "id": [named, {**named, "id": "é"}, {**named, "id": 7}],
    }
    async with serve(default_token_quota=900) as service:
        await set_quota(service, 500)
        for param, wrong in bodies.items():
            for body in wrong:
                async with service.admin("POST", "client/credit", json=body) as response:
                    assert await fault_of(response) == Fault(400, "invalid_request", param)
        good = {"tokens": 20, "reason": "the outage", "id": "t1"}
        for _ in range(2):
            async with service.admin("POST", "client/credit", json=good) as response:
                assert (await read(response))["books"][0]["max_quota"] == 520
        async with service.admin("POST", "client/credit", json=good | {"tokens": 21}) as response:
            assert await fault_of(response) == Fault(400, "invalid_request", "id")
        for _ in range(2):
            async with service.admin("DELETE", "client/quota") as response:
                shown = await read(response)
                assert (shown["follows_default"], shown["max_quota"]) == (True, 900)
        for value, fault in (("true", UNKNOWN), ("yes", Fault(400, "invalid_request", "existing"))):
            query = {"product_id": "p2", "existing": value}
            async with service.admin("PUT", "client/quota", json={"max_quota": 1}, **query) as response:
                assert await fault_of(response) == fault
        await check_balance(service)
