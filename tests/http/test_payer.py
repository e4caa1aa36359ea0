"""Who pays, if a base URL says so: the same routes, keys and errors, and ids in any spelling that is right."""

import logging
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from gptdock.http import app
from gptdock.http.middlewares import ADMIN
from tests.harness.hostile import AUTHORIZED, Fault, connect, fault_of, request
from tests.harness.operator import read
from tests.harness.service import Service
from tests.http.test_openai_routes import MESSAGES

BODY = {"model": "gpt-4o-mini", "messages": MESSAGES}


def complete(service: Service, who: str, headers: Any = None, **fields: Any):
    """POST chat/completions below /clients/<who>; to be used with `async with`."""
    url = URL(f"{service.url}/clients/{who}/v1/chat/completions", encoded=True)
    return service.session.post(url, json=BODY | fields, headers=headers)


@pytest.mark.parametrize("ids", [("1234", "demo"), ("a/b", "c d"), ("é🦆{y}", "{x}"), ("100%", "a+b"), ("%2F", "..v1")])
async def test_the_path_names_who_pays_in_any_script(service: Service, caplog, ids: tuple[str, str]):
    caplog.set_level(logging.INFO, "gptdock")

    async with complete(service, "/".join(quote(each, safe="") for each in ids), user="u7") as response:
        assert response.status == 200

    info = await service.info(*ids)
    assert (info["client_id"], info["product_id"], info["quota_used"]) == (*ids, service.openai.journal[0].spent)
    lines = [vars(each) for each in caplog.records if each.message == "request ended"]
    assert [lines[0][name] for name in ("route", "client", "product")] == ["/v1/chat/completions", *ids]


async def test_headers_beside_the_path_must_agree_with_it(service: Service):
    for name, value in (("X-Client-Id", "1234"), ("X-Product-Id", "demo")):
        async with complete(service, "1234/demo", {name: value}) as response:
            assert response.status == 200
        for other in ([(name, "other")], [(name, "")], [(name, value), (name, "other")]):
            async with complete(service, "1234/demo", other) as response:
                assert await fault_of(response) == Fault(400, "invalid_request", name)

    assert service.openai.requests == 2


@pytest.mark.parametrize(
    "segment",
    ["%00", "a%0d%0aX-Evil:%201", "%FF", "%C0%AF", "%ED%A0%80", "100%", "%zz", "x" * 256, ".", "%2E%2e", "%7F"],
)
@pytest.mark.parametrize("param", ["client", "product"])
async def test_an_id_that_is_not_right_is_refused_on_every_route(service: Service, segment: str, param: str):
    who = f"{segment}/demo" if param == "client" else f"1234/{segment}"
    async with connect(service) as connection:
        for method, path in (("POST", "chat/completions"), ("GET", "models"), ("GET", "models/gpt-4o-mini")):
            connection.send(request(method, f"/clients/{who}/v1/{path}", AUTHORIZED, b"{}"))
            assert await connection.fault() == Fault(400, "invalid_request", param)

    assert service.openai.requests == 0


async def test_models_are_listed_and_shown_below_a_base_url_too(service: Service):
    for path in ("models", "models/gpt-4o-mini"):
        async with service.session.get(f"{service.url}/v1/{path}") as response:
            plain = await read(response)
        async with service.session.get(f"{service.url}/clients/1234/demo/v1/{path}") as response:
            assert await read(response) == plain


async def test_a_base_url_needs_the_key_and_has_no_route_but_openai_s(service: Service):
    base = f"{service.url}/clients/1234/demo"
    async with service.session.get(f"{base}/v1/models", headers={"Authorization": "Bearer wrong"}) as response:
        assert await fault_of(response) == Fault(403, "forbidden")
    others = {each.path for each in app.ROUTES + app.ADMIN_ROUTES} - {each.path for each in app.OPENAI_ROUTES}
    assert any(path.startswith(ADMIN) for path in others)
    for path in others:
        async with service.session.post(base + path, json=BODY) as response:
            assert await fault_of(response) == Fault(404, "not_found")
    for method in ("HEAD", "OPTIONS", "PUT"):
        async with service.session.request(method, f"{base}/v1/models") as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET")


async def test_a_missing_header_says_what_it_is_for(service: Service):
    async with service.session.post(f"{service.url}/v1/chat/completions", json=BODY) as response:
        message = (await response.json())["error"]["message"]

    assert message.startswith("Header X-Client-Id is missing: it names the client who pays")
