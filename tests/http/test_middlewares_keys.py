"""Who needs which key, on which path."""

import asyncio
import json

from tests.harness.hostile import (
    Fault,
    connect,
    fault_of,
    question,
    request,
)

FORBIDDEN = Fault(403, "forbidden")
ROUTES = [
    ("POST", "/v1/ask"),
    ("GET", "/v1/client/info?client_id=c1&product_id=p1"),
    ("POST", "/v1/health"),
    ("HEAD", "/v1/models"),
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


async def test_a_question_with_a_wrong_key_is_forbidden(service):
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


async def test_every_route_is_closed_without_the_key_also_those_that_do_not_exist(service):
    answers = {}
    for route in ROUTES:
        async with connect(service) as connection:
            connection.send(request(*route, headers={"Connection": "close"}))
            answers[route] = await connection.rest()

    assert [route for route, answer in answers.items() if not answer.startswith(b"HTTP/1.1 403 ")] == []
    assert [route for route, answer in answers.items() if b"\r\nX-Request-Id: " not in answer] == []


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
