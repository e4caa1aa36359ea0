"""What every request passes: ids, errors, keys, as seen from outside."""

import asyncio
import json
import logging
import re

import pytest
from aiohttp import web

from gptdock.http import middlewares
from gptdock.http.app_keys import CONNECTIONS
from gptdock.http.connections import Connections
from tests.harness.hostile import (
    AUTHORIZED,
    Fault,
    check_nothing_is_left,
    connect,
    fault_of,
    question,
    read_fault,
    request,
)

FORBIDDEN = Fault(403, "forbidden")
ROUTES = [
    ("POST", "/v1/ask"),
    ("GET", "/v1/client/info?client_id=c1&product_id=p1"),
    ("POST", "/v1/health"),
    ("HEAD", "/v1/health"),
    ("GET", "/v1/health/"),
    ("GET", "//v1/health"),
    ("GET", "/v1/health%2F..%2Fask"),
    ("GET", "/v1%2Fhealth"),
    ("GET", "/v1/HEALTH"),
    ("GET", "/nowhere"),
    ("GET", "/"),
    ("DELETE", "/v1/ask"),
    ("OPTIONS", "/v1/ask"),
    ("OPTIONS", "*"),
    ("PROPFIND", "/v1/ask"),
    ("GET", "http://gptdock/v1/ask"),
    ("CONNECT", "gptdock:443"),
    ("POST", "//v1/ask"),
    ("POST", "//gptdock/v1/ask"),
    ("POST", "/v1/../v1/ask"),
    ("POST", "/v1/health/../ask"),
    ("POST", "/v1/%2e%2e/v1/ask"),
    ("POST", "/v1/%61sk"),
    ("POST", "/v1%2Fask"),
    ("POST", "/v1/ask%00"),
    ("POST", "/v1/ask?x=/v1/health"),
    ("POST", "/v1/ask#/v1/health"),
    ("GET", "/v1/health;/../ask"),
    ("GET", "/v1/%68ealth/"),
    ("GET", "/%ff"),
]
NO_TARGETS = ["/v1/é", "\\v1\\ask", "?", "*", "gptdock:443", "http:/v1/ask", "http:///v1/ask", "file:///v1/ask"]
WRONG_KEYS = [
    b"",
    b"Authorization:\r\n",
    b"Authorization: Bearer\r\n",
    b"Authorization: Bearer \r\n",
    b"Authorization: test-key\r\n",
    b"Authorization: Basic test-key\r\n",
    b"Authorization: Basic dGVzdC1rZXk6\r\n",
    b"Authorization: Bearertest-key\r\n",
    b"Authorization: Bearer  test-key\r\n",
    b"Authorization: Bearer\ttest-key\r\n",
    b"Authorization: Bearer test-key,other\r\n",
    b"Authorization: Bearer Test-key\r\n",
    b"Authorization: Bearer test-ke\r\n",
    b"Authorization: Bearer test-keys\r\n",
    b'Authorization: Bearer "test-key"\r\n',
    b"Authorization: Bearer sk-upstream-secret\r\n",
    "Authorization: Bearer tést-key\r\n".encode(),
    b"Authorization: Bearer test-key\xff\r\n",
    b"Authorization: Bearer \xed\xa0\x80\r\n",
    b"Authorization: B\xe9arer test-key\r\n",
    b"Authorization: Bearer " + b"k" * 8000 + b"\r\n",
    b"Authorization: Bearer test-key\r\nAuthorization: Bearer test-key\r\n",
    b"Authorization: Bearer wrong\r\nauthorization: Bearer test-key\r\n",
    b"Proxy-Authorization: Bearer test-key\r\n",
    b"X-Api-Key: test-key\r\n",
]

BAD_LINES = [
    b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n",
    b'Transfer-Encoding: "chunked"\r\n',
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    b"Content-Length: 5\r\nContent-Length: 5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: 5 6\r\n",
    b"Content-Length:\r\n",
    b"Content-Length: " + b"9" * 30 + b"\r\n",
    "Content-Length: ٥\r\n".encode(),
    b"Content-Length: +5\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length: 5_0\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Length : 5\r\n",
    b" folded: yes\r\n",
    b"X-Folded: a\r\n b\r\n",
    b"no colon\r\n",
    b": no name\r\n",
    b"X-\xe9: a\r\n",
    b"X-Bare: a\nX-Line-Feed: b\r\n",
    b"X-Two-Returns: a\r\r\n",
    b"Host: other\r\n",
    b"X\x00Nul: a\r\n",
    b"X-Nul: \x00\r\n",
    b"X-Return: a\rb\r\n",
    b"X-Long: " + b"x" * 9000 + b"\r\n",
    b"X-Longer: " + b"x" * 65536 + b"\r\n",
    b"X" * 65536 + b": x\r\n",
    b"".join(b"X-%d: 1\r\n" % number for number in range(200)),
]
NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",  # a TLS hello
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /v1/health HTTP/9.9\r\n\r\n",
    b"GET http://[gptdock/ HTTP/1.1\r\nHost: gptdock\r\n\r\n",
    b"\n\n\n\x00\n\n",
    b"GET /v1/health HTTP/1.1\nHost: gptdock\n\n",  # bare LF
    b"GET /v1/health HTTP/1.1\rHost: gptdock\r\r",
    b"GET /v1/health HTTP/1.1\r\n\r\n",  # no Host
    b"GET /v1/health HTTP/1.1 \r\nHost: gptdock\r\n\r\n",
    b"GET\t/v1/health\tHTTP/1.1\r\nHost: gptdock\r\n\r\n",
    b"GET /v1/hea\x00lth HTTP/1.1\r\nHost: gptdock\r\n\r\n",
    b"G\x00T /v1/health HTTP/1.1\r\nHost: gptdock\r\n\r\n",
    b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\nHost: gptdock\r\n\r\n",
]
BAD_CHUNKS = [
    b"0x5\r\n{   }\r\n0\r\n\r\n",
    b"+5\r\n{   }\r\n0\r\n\r\n",
    b"-5\r\n{   }\r\n0\r\n\r\n",
    b"5_0\r\n{   }\r\n0\r\n\r\n",
    b" 5\r\n{   }\r\n0\r\n\r\n",
    b"5 \r\n{   }\r\n0\r\n\r\n",
    b"5\n{   }\n0\n\n",
    b"5\r{   }\r0\r\r",
    b"5;\n\r\n{   }\r\n0\r\n\r\n",
    b"\r\n5\r\n{   }\r\n0\r\n\r\n",
    b"5\r\n{   }X\r\n0\r\n\r\n",
    b"4\r\n{   }\r\n0\r\n\r\n",
    b"F" * 17 + b"\r\n{   }\r\n0\r\n\r\n",
    b"5\r\n{   }\r\n0\r\nContent-Length: 5\r\n\r\n",
]
ECHOED = [
    b"GET / HTTP/1.1\r\n folded: hush-hush",
    b"GET / HTTP/1.1\r\nAuthorization Bearer hush-hush",
    b"GET / HTTP/1.1\r\nAuthorization: Bearer hush-hush\x00",
    b"GET / HTTP/1.1\r\nAuthorization: Bearer hush-hush" + b"h" * 9000,
    b"GET /v1/health HTTP/9.9 hush-hush",
    b"GET http://[hush-hush/ HTTP/1.1\r\nHost: gptdock",
    b"\x00hush-hush",
]


SMUGGLED = request("POST", "/v1/ask", AUTHORIZED, question())


async def test_without_a_right_key_nobody_passes(service):
    faults = {}
    for header in WRONG_KEYS:
        async with connect(service) as connection:
            body = question()
            head = b"POST /v1/ask HTTP/1.1\r\nHost: gptdock\r\n%sContent-Length: %d\r\n\r\n" % (header, len(body))
            connection.send(head + body)
            faults[header] = await connection.fault()

    assert faults == dict.fromkeys(WRONG_KEYS, FORBIDDEN)
    assert service.openai.requests == 0
    async with service.session.get(f"{service.url}/v1/client/info?client_id=c1&product_id=p1") as response:
        assert await fault_of(response) == Fault(404, "client_not_found")


async def test_without_the_key_every_route_is_closed_also_those_that_do_not_exist(service):
    answers = {}
    for route in ROUTES:
        async with connect(service) as connection:
            connection.send(request(*route, headers={"Connection": "close"}))
            answers[route] = await connection.rest()

    assert [route for route, answer in answers.items() if not answer.startswith(b"HTTP/1.1 403 ")] == []
    assert [route for route, answer in answers.items() if b"\r\nX-Request-Id: " not in answer] == []


async def test_what_is_no_path_of_ours_is_refused(service):
    answers = {}
    for target in NO_TARGETS:
        async with connect(service) as connection:
            connection.send(request("POST", target, AUTHORIZED, question()))
            answers[target] = await connection.rest()

    assert [target for target, answer in answers.items() if not re.match(rb"HTTP/1\.[01] 400 ", answer)] == []
    await check_nothing_was_asked(service)


async def test_health_needs_no_key(service):
    async with connect(service) as connection:
        connection.send(request("GET", "/v1/health", headers={}))

        status, headers, body = await connection.answer()

    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert headers["x-request-id"]


async def test_the_scheme_may_be_written_in_any_case(service):
    async with connect(service) as connection:
        for scheme in ("Bearer", "bearer", "BEARER"):
            connection.send(request("GET", "/nowhere", headers={"Authorization": f"{scheme} test-key"}))

            assert await connection.fault() == Fault(404, "not_found")


async def test_each_of_several_keys_opens_and_no_other(serve):
    expected = {"test-key": 404, "next-key": 404, "test-key,next-key": 403, "last-key": 403, ",": 403}
    async with serve(pre_shared_key="test-key,next-key") as service, connect(service) as connection:
        statuses = {}
        for key in expected:
            connection.send(request("GET", "/nowhere", headers={"Authorization": f"Bearer {key}"}))
            statuses[key] = (await connection.fault()).status

    assert statuses == expected


async def test_a_refusal_does_not_wait_for_a_body_that_is_withheld(service):
    async def withhold(framing):
        async with connect(service) as connection:
            connection.send(f"POST /v1/ask HTTP/1.1\r\nHost: gptdock\r\n{framing}\r\n\r\n".encode())
            return await connection.fault(), await connection.rest()

    ends = await asyncio.gather(withhold("Content-Length: 100"), withhold("Transfer-Encoding: chunked"))

    assert list(ends) == [(FORBIDDEN, b"")] * 2
    assert service.openai.requests == 0


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
        ("POST", "/v1/health", "GET"),
    ):
        async with service.session.request(method, f"{service.url}{path}") as response:
            assert await fault_of(response) == Fault(405, "method_not_allowed")
            assert response.headers["Allow"] == allowed


async def test_a_head_request_is_no_get(service):
    async with service.session.head(f"{service.url}/v1/health") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")


async def test_a_head_that_is_no_head_is_refused_and_closed(service):
    answers = {}
    for lines in BAD_LINES:
        async with connect(service) as connection:
            connection.send(b"POST /v1/ask HTTP/1.1\r\nHost: gptdock\r\n" + lines + b"\r\n" + SMUGGLED)
            answers[lines] = await connection.rest()

    assert [lines for lines, answer in answers.items() if not re.match(rb"HTTP/1\.[01] 400 ", answer)] == []
    assert [lines for lines, answer in answers.items() if answer.count(b"HTTP/1.") != 1] == []
    await check_nothing_was_asked(service)


async def test_what_is_no_http_is_refused_and_closed(service):
    answers = {}
    for data in NO_HTTP:
        async with connect(service) as connection:
            connection.send(data)
            answers[data] = await connection.rest()

    assert [data for data, answer in answers.items() if not re.match(rb"HTTP/1\.[01] 400 ", answer)] == []
    await check_nothing_was_asked(service)


async def test_chunks_that_are_none_are_refused_and_nothing_after_them_is_a_request(service):
    answers = {}
    for chunks in BAD_CHUNKS:
        async with connect(service) as connection:
            connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Transfer-Encoding": "chunked"}))
            connection.send(chunks + SMUGGLED)
            answers[chunks] = await connection.rest()

    assert [chunks for chunks, answer in answers.items() if not re.match(rb"HTTP/1\.[01] 400 ", answer)] == []
    assert [chunks for chunks, answer in answers.items() if answer.count(b"HTTP/1.") != 1] == []
    await check_nothing_was_asked(service)


@pytest.mark.parametrize("key", [{}, AUTHORIZED], ids=["without the key", "with the key"])
async def test_a_request_within_a_body_is_only_a_body(service, key):
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    expected = b"400" if key else b"403"
    for data, statuses in (
        (request("POST", "/v1/ask", key, SMUGGLED), [expected, b"404"]),
        (request("POST", "/v1/ask", key | {"Transfer-Encoding": "chunked"}) + chunked, [expected]),
    ):
        async with connect(service) as connection:
            connection.send(data + request("GET", "/nowhere", AUTHORIZED | {"Connection": "close"}))

            assert re.findall(rb"HTTP/1.1 (\d+) ", await connection.rest()) == statuses
    await check_nothing_was_asked(service)


@pytest.mark.parametrize("trailer", [b"Authorization: Bearer test-key", b"X-Request-Id: smuggled"])
async def test_a_trailer_is_no_header_of_the_next_request(service, trailer):
    """Behind a proxy that passes trailers on, the next request on the connection is somebody else's."""
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", {"Transfer-Encoding": "chunked"}) + b"0\r\n" + trailer + b"\r\n\r\n")
        connection.send(request("GET", "/nowhere", {}))

        answer = await connection.rest()

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"smuggled" not in answer


async def test_a_parser_fault_does_not_echo_what_was_sent(service):
    answers = {}
    for data in ECHOED:
        async with connect(service) as connection:
            connection.send(data + b"\r\n\r\n")
            answers[data] = await connection.rest()

    assert [data for data, answer in answers.items() if not re.match(rb"HTTP/1\.[01] 400 ", answer)] == []
    assert [answer for answer in answers.values() if b"hush-hush" in answer] == []


@pytest.mark.parametrize("headers", [{}, AUTHORIZED], ids=["without the key", "with the key"])
async def test_an_expectation_that_nobody_knows_is_refused_and_closed(service, headers):
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", headers | {"Expect": "junk-word"}, question()))

        status, _, body = await connection.answer()
        rest = await connection.rest()

    assert (status, json.loads(body)["error"]["code"], rest) == (400, "invalid_request", b"")
    assert b"junk-word" not in body
    assert service.openai.requests == 0


async def test_a_body_that_waits_to_be_wanted_is_asked_for(service):
    async with connect(service) as connection:
        body = question()
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Expect": "100-continue"}, body).removesuffix(body))
        assert await connection.line() == b"HTTP/1.1 100 Continue\r\n"
        assert await connection.line() == b"\r\n"
        connection.send(body)

        status, _, _ = await connection.answer()

    assert status == 200


async def test_a_request_that_breaks_off_does_no_harm(service):
    async with connect(service) as connection:
        connection.send(b"POST /v1/ask HTTP/1.1\r\nHost: gptdock\r\nContent-Length: 12")
        connection.writer.write_eof()

        await connection.rest()

    await check_nothing_was_asked(service)


async def check_nothing_was_asked(service):
    """As if nothing had come: the first question is the check's own."""
    async with service.ask() as response:
        assert response.status == 200
    assert service.openai.requests == 1
    await check_nothing_is_left(service, service.openai.journal[0].spent)


async def test_a_fault_of_ours_is_logged_and_told_without_its_cause(aiohttp_client, caplog):
    async def break_down(request):
        raise RuntimeError("hush-hush")

    app = web.Application(middlewares=[middlewares.request_middleware, middlewares.error_middleware])
    app[CONNECTIONS] = Connections(head_timeout=1, write_timeout=1)
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
