"""The routes of `/v1/admin`: who may use them, and clients page by page and one by one."""

import json
from base64 import urlsafe_b64encode

from tests.harness.hostile import Fault, connect, fault_of, read_fault, request
from tests.harness.operator import overview, read, set_quota
from tests.harness.service import ADMIN_KEY, KEY
from tests.http.test_middlewares_keys import WRONG_KEYS

FORBIDDEN = Fault(403, "forbidden")
UNKNOWN = Fault(404, "client_not_found")
WHO = "client_id=c1&product_id=p1"
ROUTES = [
    ("GET", "/v1/admin/status"),
    ("GET", "/v1/admin/clients"),
    ("GET", "/v1/admin/clients/near"),
    ("GET", "/v1/admin/usage"),
    ("GET", f"/v1/admin/client?{WHO}"),
    ("PUT", f"/v1/admin/client/quota?{WHO}"),
    ("DELETE", f"/v1/admin/client/quota?{WHO}"),
    ("POST", f"/v1/admin/client/credit?{WHO}"),
    ("POST", f"/v1/admin/client/reset?{WHO}"),
    ("GET", f"/v1/admin/client/usage?{WHO}"),
    ("POST", "/v1/admin/forget"),
]
BELOW = [*ROUTES, ("GET", "/v1/admin/"), ("GET", "/v1/admin/nowhere"), ("DELETE", "/v1/admin/client")]
ELSEWHERE = [
    ("POST", "/v1/ask"),
    ("GET", f"/v1/client/info?{WHO}"),
    ("GET", "/v1/admin"),
    ("GET", "/v1/administrators"),
    ("GET", "/nowhere"),
    ("POST", "/v1/health"),
]
SPELLED = [
    "/v1/%61dmin/clients",
    "/v1/admin%2Fclients",
    "/v1%2Fadmin/clients",
    "/v1/admin/clients/",
    "//v1/admin/clients",
    "/v1//admin/clients",
    "/v1/./admin/clients",
    "/v1/client/../admin/clients",
    "/v1/%2e/admin/clients",
    "/V1/ADMIN/clients",
    "/v1/admin/clients;x",
    "/v1/admin/clients%00",
    "http://gptdock/v1/admin/clients",
]


async def statuses(service, key: str, routes: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """What each route answers to this key, asked for as it is written here."""
    found = {}
    for route in routes:
        async with connect(service) as connection:
            headers = {"Authorization": f"Bearer {key}", "Connection": "close"}
            connection.send(request(*route, headers=headers, body=b"{}"))
            found[route] = int((await connection.rest()).split(b" ", 2)[1])
    return found


async def test_each_key_opens_its_own_routes_and_no_other(serve):
    async with serve(admin_key="one,two") as service:
        for key in ("one", "two"):
            opened = await statuses(service, key, BELOW)
            assert list(opened.values()) == [200, 200, 200, 200, 404, 400, 404, 400, 404, 404, 400, 404, 404, 405]
            assert await statuses(service, key, ELSEWHERE) == dict.fromkeys(ELSEWHERE, 403)

        assert await statuses(service, KEY, BELOW) == dict.fromkeys(BELOW, 403)
        assert list((await statuses(service, KEY, ELSEWHERE)).values()) == [400, 404, 404, 404, 404, 405]
        for key in ("", "three", "one,two"):
            assert set((await statuses(service, key, BELOW + ELSEWHERE)).values()) == {403}


async def test_admin_routes_do_not_exist_without_an_admin_key(serve):
    async with serve(admin_key="") as service:
        assert await statuses(service, KEY, BELOW) == dict.fromkeys(BELOW, 404)
        for key in ("", ADMIN_KEY):
            assert await statuses(service, key, BELOW) == dict.fromkeys(BELOW, 403)


async def test_the_pre_shared_key_opens_no_admin_path_however_it_is_written(service):
    routes = [("GET", path) for path in SPELLED]

    found = await statuses(service, KEY, routes)

    assert set(found.values()) <= {400, 403, 404}
    async with service.admin("GET", "clients") as response:
        assert response.status == 200
    for path, status in (await statuses(service, ADMIN_KEY, routes)).items():
        assert status != 200 or found[path] == 403


async def test_admin_routes_refuse_every_wrong_key(service):
    faults = {}
    for header in WRONG_KEYS:
        async with connect(service) as connection:
            sent = header.replace(b"test-key", ADMIN_KEY.encode()).replace(b"Test-key", b"Test-admin-key")
            connection.send(b"GET /v1/admin/clients HTTP/1.1\r\nHost: gptdock\r\n%s\r\n" % sent)
            faults[header] = await connection.fault()

    assert faults == dict.fromkeys(WRONG_KEYS, FORBIDDEN)


async def test_pages_of_clients_lead_to_each_other(service):
    accounts = {(f"c{number}#é", "p=&1") for number in range(5)}
    for client_id, product_id in accounts:
        await set_quota(service, 100, client_id=client_id, product_id=product_id)

    pages, cursor = [], ""
    while cursor is not None:
        async with service.admin("GET", "clients", limit="2", cursor=cursor) as response:
            content = await read(response)
        pages.append(content["clients"])
        cursor = content["next_cursor"]

    assert [len(page) for page in pages] == [2, 2, 1]
    listed = [client for page in pages for client in page]
    assert {(client["client_id"], client["product_id"]) for client in listed} == accounts
    assert all(
        list(client) == ["client_id", "product_id", "max_quota", "created_at", "follows_default"] for client in listed
    )
    async with service.admin("GET", "clients") as response:
        assert await read(response) == {"clients": listed, "next_cursor": None}


async def test_a_page_with_a_bad_limit_or_cursor_is_refused(service):
    bad = {"limit": ["0", "1001", "-1", "x", "1.0", "٣", "99999"]}
    ids = [
        [],
        ["a"],
        ["a", "b", "c"],
        ["", "b"],
        ["a", None],
        ["a\n", "b"],
        ["x" * 256, "b"],
        {},
        7,
        "\ud800a",
        [[], {}],
    ]
    forged = [urlsafe_b64encode(json.dumps(each).encode()).decode() for each in ids]
    bad["cursor"] = [*forged, "x", "é", "!!!!", "[]", "AAAA", "=", urlsafe_b64encode(b"[" * 10_000).decode()[:6000]]

    for param, values in bad.items():
        for value in values:
            async with service.admin("GET", "clients", **{param: value}) as response:
                assert (value, await fault_of(response)) == (value, Fault(400, "invalid_request", param))


async def test_a_client_is_shown_with_its_books(service):
    async with service.ask() as response:
        assert response.status == 200
    spent = service.openai.journal[0].spent

    shown = await overview(service)

    assert list(shown) == ["client_id", "product_id", "max_quota", "created_at", "follows_default", "books"]
    assert shown["books"] == [
        {
            "period": "all",
            "quota_used": spent,
            "quota_held": 0,
            "quota_left": 500_000 - spent,
            "max_quota": 500_000,
            "resets_at": None,
        }
    ]


async def test_a_client_that_is_unknown_or_not_named_is_an_error(service):
    for method, path in (("GET", "client"), ("POST", "client/reset"), ("GET", "client/usage")):
        async with service.admin(method, path) as response:
            assert await fault_of(response) == UNKNOWN
    for method, path in (
        ("GET", "client"),
        ("PUT", "client/quota"),
        ("POST", "client/reset"),
        ("GET", "client/usage"),
    ):
        for query in ({"client_id": ""}, {"product_id": "a\nb"}):
            async with service.admin(method, path, json={"max_quota": 1}, **query) as response:
                assert await fault_of(response) == Fault(400, "invalid_request", next(iter(query)))


async def test_an_operator_is_served_during_a_drain_like_any_caller(serve):
    path = f"/v1/admin/client?{WHO}"
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with serve(drain_seconds=60) as service, connect(service) as kept, connect(service) as fresh:
        kept.send(request("GET", path, headers))
        assert await kept.fault() == UNKNOWN

        service.stop.set()
        kept.send(request("GET", path, headers))
        status, answered, body = await kept.answer()
        fresh.send(request("GET", path, headers))

        assert (read_fault(status, answered, body), answered["retry-after"]) == (Fault(503, "draining"), "1")
        assert await fresh.fault() == UNKNOWN
