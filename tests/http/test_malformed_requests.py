"""Requests that are not HTTP, or not quite: refused, and nothing after them is taken for a request."""

import json
import re

import pytest

from tests.harness.hostile import (
    AUTHORIZED,
    check_nothing_is_left,
    connect,
    question,
    request,
)

NO_TARGETS = ["/v1/é", "\\v1\\ask", "?", "*", "gptdock:443", "http:/v1/ask", "http:///v1/ask", "file:///v1/ask"]
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


async def test_a_target_that_is_not_a_path_is_refused(service):
    answers = {}
    for target in NO_TARGETS:
        async with connect(service) as connection:
            connection.send(request("POST", target, AUTHORIZED, question()))
            answers[target] = await connection.rest()

    assert [target for target, answer in answers.items() if not re.match(rb"HTTP/1\.[01] 400 ", answer)] == []
    await check_nothing_was_asked(service)


async def test_malformed_headers_are_refused_and_their_connection_closed(service):
    answers = {}
    for lines in BAD_LINES:
        async with connect(service) as connection:
            connection.send(b"POST /v1/ask HTTP/1.1\r\nHost: gptdock\r\n" + lines + b"\r\n" + SMUGGLED)
            answers[lines] = await connection.rest()

    assert [lines for lines, answer in answers.items() if not re.match(rb"HTTP/1\.[01] 400 ", answer)] == []
    assert [lines for lines, answer in answers.items() if answer.count(b"HTTP/1.") != 1] == []
    await check_nothing_was_asked(service)


async def test_bytes_that_are_not_http_are_refused_and_their_connection_closed(service):
    answers = {}
    for data in NO_HTTP:
        async with connect(service) as connection:
            connection.send(data)
            answers[data] = await connection.rest()

    assert [data for data, answer in answers.items() if not re.match(rb"HTTP/1\.[01] 400 ", answer)] == []
    await check_nothing_was_asked(service)


async def test_malformed_chunks_are_refused_and_no_request_follows_them(service):
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
@pytest.mark.parametrize(("key", "body", "status"), [({}, b"", b"403"), (AUTHORIZED, question(), b"200")])
async def test_a_trailer_is_not_a_header_of_the_next_request(service, trailer, key, body, status):
    """Behind a proxy that passes trailers on, the next request on the connection is somebody else's."""
    chunks = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n" + trailer + b"\r\n\r\n"
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", key | {"Transfer-Encoding": "chunked"}) + chunks)
        connection.send(request("GET", "/nowhere", {}))

        answer = await connection.rest()

    assert answer.startswith(b"HTTP/1.1 " + status)
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
async def test_an_unknown_expectation_is_refused_and_its_connection_closed(service, headers):
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
