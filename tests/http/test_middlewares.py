"""What every request passes: its id, the form of errors, and what is logged."""

import logging
import re

import pytest
from aiohttp import web

from gptdock.http import middlewares
from gptdock.http.app_keys import SERVICES, Services
from gptdock.http.connections import Connections
from gptdock.http.gate import Gate
from gptdock.http.room import Room
from tests.harness.hostile import (
    AUTHORIZED,
    Fault,
    connect,
    fault_of,
    question,
    read_fault,
    request,
)
from tests.harness.service import NOBODY, make_settings


async def test_the_caller_s_own_request_id_is_kept(service):
    for own_id in ("a", "req-1", "!~" * 64, "x" * 128):
        async with service.session.get(f"{service.url}/nowhere", headers={"X-Request-Id": own_id}) as response:
            await fault_of(response)

            assert response.headers["X-Request-Id"] == own_id


async def test_a_request_id_that_is_not_visible_ascii_is_replaced(service):
    given = [b"", b"x" * 129, b"a b", b"caf\xc3\xa9", b"\xff", b"a\tb", b"a\x85", b"\xd9\xa3"]
    async with connect(service) as connection:
        ids = []
        for own_id in given:
            connection.send(b"GET /v1/health HTTP/1.1\r\nHost: gptdock\r\nX-Request-Id: %s\r\n\r\n" % own_id)
            ids.append((await connection.answer())[1]["x-request-id"])

    assert len(set(ids)) == len(given)
    assert all(re.fullmatch("[0-9a-f]{32}", new_id) for new_id in ids)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_has_the_request_s_id(service, stream):
    async with service.session.post(
        f"{service.url}/v1/ask", data=question(stream=stream), headers={"X-Request-Id": "mine"}
    ) as response:
        await response.read()

    assert response.headers["X-Request-Id"] == "mine"
    [receipt] = await service.receipts()
    assert "#mine#" in receipt["receipt"]


async def test_an_unknown_route_is_not_found(service):
    async with service.session.get(f"{service.url}/v1/nowhere") as response:
        assert await fault_of(response) == Fault(404, "not_found")


async def test_another_method_is_told_which_are_allowed(service):
    for method, path, allowed in (
        ("GET", "/v1/ask", "POST"),
        ("PUT", "/v1/ask", "POST"),
        ("PROPFIND", "/v1/ask", "POST"),
        ("POST", "/v1/client/info", "GET"),
        ("POST", "/v1/health", "GET,HEAD"),
    ):
        async with service.session.request(method, f"{service.url}{path}") as response:
            assert await fault_of(response) == Fault(405, "method_not_allowed")
            assert response.headers["Allow"] == allowed


async def test_a_head_request_is_for_health_only(service):
    async with service.session.head(f"{service.url}/v1/models") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")
    async with connect(service) as connection:
        connection.send(request("HEAD", "/v1/health", headers={}) + request("GET", "/v1/health", headers={}))

        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (await connection.answer())[0] == 200


async def test_a_fault_of_ours_is_logged_and_told_without_its_cause(aiohttp_client, caplog):
    async def break_down(request):
        raise RuntimeError("hush-hush")

    app = web.Application(middlewares=[middlewares.request_middleware, middlewares.error_middleware])
    app[SERVICES] = Services(make_settings(NOBODY, NOBODY), Connections(1, 1), Gate(1, 1), Room(), ())
    app.router.add_get("/", break_down)
    app.on_response_prepare.append(middlewares.on_prepare)
    client = await aiohttp_client(app)

    response = await client.get("/")

    body = await response.read()
    assert b"hush-hush" not in body
    headers = {name.lower(): value for name, value in response.headers.items()}
    assert read_fault(response.status, headers, body) == Fault(500, "internal_error")
    assert headers["x-should-retry"] == "false"
    [record] = [record for record in caplog.records if record.name == "gptdock.http.middlewares"]
    assert (record.levelno, record.exc_info is not None) == (logging.ERROR, True)


async def test_no_key_is_in_a_log(service, caplog):
    caplog.set_level(logging.DEBUG)
    async with service.session.get(f"{service.url}/nowhere") as response:
        await response.read()
    async with connect(service) as connection:
        connection.send(request("GET", "/nowhere", headers={"Authorization": "Bearer nearly-test-key"}))
        await connection.fault()
    async with service.ask(question="hush-hush") as response:
        await response.read()

    assert AUTHORIZED["Authorization"] not in caplog.text
    assert "nearly-test-key" not in caplog.text
    assert not any("hush-hush" in record.getMessage() for record in caplog.records if record.name.startswith("gptdock"))
