"""`/v1/client/info`, as a caller meets it."""

import time
from datetime import UTC, datetime

from tests.harness.hostile import (
    Fault,
    fault_of,
)
from tests.harness.operator import read
from tests.harness.service import ADMIN_KEY, KEY, QUESTION


async def test_info_without_its_ids_is_refused(service):
    for query, param in (
        ("", "client_id"),
        ("product_id=p1", "client_id"),
        ("client_id=c1", "product_id"),
        ("client_id=&product_id=p1", "client_id"),
        ("client_id=c1&product_id=a%0Ab", "product_id"),
        ("client_id=c1&product_id=p1&client_id=c2", "client_id"),
        (f"client_id={'x' * 256}&product_id=p1", "client_id"),
    ):
        async with service.session.get(f"{service.url}/v1/client/info?{query}") as response:
            assert await fault_of(response) == Fault(400, "invalid_request", param)


async def test_a_client_that_never_asked_is_not_found(service):
    async with service.ask() as response:
        await response.read()

    for query in ("client_id=c1&product_id=p2", "client_id=c2&product_id=p1", "client_id=%FF&product_id=p1"):
        async with service.session.get(f"{service.url}/v1/client/info?{query}") as response:
            assert await fault_of(response) == Fault(404, "client_not_found")


async def test_info_tells_the_numbers_of_the_running_period(service):
    async with service.ask() as response:
        await response.read()

    used = service.openai.journal[0].spent
    assert await service.info() == {
        "client_id": "c1",
        "product_id": "p1",
        "quota_used": used,
        "quota_held": 0,
        "quota_left": 500_000 - used,
        "max_quota": 500_000,
        "period": "all",
        "resets_at": None,
    }


async def test_a_known_client_without_a_book_in_this_period_reads_as_unused(serve):
    async with serve() as service, service.ask() as response:
        await response.read()

    async with serve(quota_period="month") as service:
        info = await service.info()

    now = datetime.now(UTC)
    assert (info["quota_used"], info["quota_left"], info["max_quota"]) == (0, 500_000, 500_000)
    assert info["period"] == f"{now:%Y-%m}"
    next_month = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    assert info["resets_at"] == f"{next_month:%Y-%m-%dT%H:%M:%SZ}"


async def test_an_unknown_parameter_of_the_query_is_a_400_that_names_it(service):
    client = "client_id=c1&product_id=p1"
    for path, param in {
        f"client/info?{client}&perod=day": "perod",
        "openapi.json?x": "x",
        "openapi.json?sk-secret%20key=1": "query",
        f"admin/client?{client}&by=day": "by",
        f"admin/client?{client}&client_id=c2": "client_id",
        "admin/usage?by=day&by=day&to=": "by",
        f"admin/client/usage?{client}&perod=day": "perod",
    }.items():
        key = ADMIN_KEY if path.startswith("admin") else KEY
        headers = {"Authorization": f"Bearer {key}"}
        async with service.session.get(f"{service.url}/v1/{path}", headers=headers) as response:
            assert await fault_of(response) == Fault(400, "invalid_request", param)
    async with service.session.post(f"{service.url}/v1/ask?stream=true", json=QUESTION) as response:
        assert await fault_of(response) == Fault(400, "invalid_request", "stream")


async def test_routes_of_openai_and_health_take_any_query(service):
    for path in ("models?api-version=1", "health?x=1"):
        async with service.session.get(f"{service.url}/v1/{path}") as response:
            assert response.status == 200


async def test_a_wrong_key_is_told_before_an_unknown_parameter(service):
    headers = {"Authorization": "Bearer wrong"}
    async with service.session.get(f"{service.url}/v1/client/info?x=1", headers=headers) as response:
        assert response.status == 403


async def test_the_running_period_is_that_of_dynamodb_s_time(serve):
    """In a process that has not heard it yet, on a machine whose clock is two months ahead."""
    who = "client_id=c1&product_id=p1"
    async with serve(quota_period="month", default_token_quota=1) as service:
        async with service.ask() as response:
            assert response.status == 402
        for path in (f"client/info?{who}", f"admin/client/usage?{who}", "admin/clients/near?percent=0", "admin/usage"):
            headers = {"Authorization": f"Bearer {ADMIN_KEY if 'admin' in path else KEY}"}
            clock, shown = service.ledger.clock, []
            await service.ledger.hear()
            for _ in range(2):
                async with service.session.get(f"{service.url}/v1/{path}", headers=headers) as response:
                    shown.append(await read(response))
                clock.told, clock._known, clock._machine = False, None, lambda: time.time() + 60 * 86_400
            assert shown[0] == shown[1]
