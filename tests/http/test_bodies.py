"""Bodies: how long, how late and in what encoding they may come."""

import asyncio

import pytest

from tests.harness.hostile import (
    AUTHORIZED,
    Connection,
    Fault,
    check_nothing_is_left,
    connect,
    fault_of,
    question,
    request,
)


async def test_a_body_of_the_full_size_is_read_and_one_byte_more_is_not(serve):
    async with serve(max_body_bytes=1024) as service:
        body = question().ljust(1024)
        async with service.session.post(f"{service.url}/v1/ask", data=body) as response:
            assert response.status == 200
        async with service.session.post(f"{service.url}/v1/ask", data=body + b" ") as response:
            assert await fault_of(response) == Fault(413, "payload_too_large")


async def test_a_chunked_body_over_the_cap_is_refused_before_its_end(serve):
    async with serve(max_body_bytes=1024) as service, connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Transfer-Encoding": "chunked"}))
        connection.send(b"800\r\n" + b" " * 0x800 + b"\r\n")

        fault = await connection.fault()
        await connection.rest()

    assert fault == Fault(413, "payload_too_large")


async def test_a_length_over_the_cap_is_refused_without_the_body(service):
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Length": "99999999999"}))

        fault = await connection.fault()
        await connection.rest()

    assert fault == Fault(413, "payload_too_large")


async def test_a_body_longer_than_its_length_is_refused(service):
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED, question()[:10]) + question()[10:])

        status, _, _ = await connection.answer()
        await connection.rest()

    assert status == 400
    assert service.openai.requests == 0


async def test_malformed_chunks_are_waited_for_no_longer_than_a_body(serve):
    headers = {"Transfer-Encoding": "chunked", "Expect": "100-continue"}
    async with serve(body_timeout=0.2) as service, connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | headers))
        assert await connection.line() + await connection.line() == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(b"5\r\n{   }\r\nzz\r\n")

        fault = await connection.fault()
        await connection.rest()

    assert fault.status in (400, 408)
    assert service.openai.requests == 0


async def test_a_good_chunked_body_is_read(service):
    body = question()
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Transfer-Encoding": "chunked"}))
        connection.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")

        status, _, _ = await connection.answer()

    assert status == 200


@pytest.mark.parametrize("sent", [b"", question()[:20]], ids=["none", "half"])
async def test_a_body_that_does_not_come_times_out(serve, sent):
    async with serve(body_timeout=0.2) as service:
        async with connect(service) as connection:
            connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Length": "100"}) + sent)

            fault = await connection.fault()
            rest = await connection.rest()
        assert (fault, rest) == (Fault(408, "request_timeout"), b"")
        assert service.openai.requests == 0
        async with service.ask() as response:
            assert response.status == 200


async def test_a_body_that_drips_times_out(serve):
    async with serve(body_timeout=0.3) as service, connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Length": "100000"}))

        async with asyncio.TaskGroup() as tasks:
            dripping = tasks.create_task(_drip(connection))
            fault = await connection.fault()
            dripping.cancel()

        assert (fault, await connection.rest()) == (Fault(408, "request_timeout"), b"")
        assert service.openai.requests == 0


async def _drip(connection: Connection) -> None:
    while True:
        connection.send(b" ")
        await asyncio.sleep(0.02)


async def test_a_caller_who_leaves_within_its_body_costs_nothing(service):
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Length": "1000"}) + question())
        connection.writer.write_eof()

        await connection.rest()

    assert service.openai.requests == 0
    async with service.ask() as response:
        await response.read()
    await check_nothing_is_left(service, service.openai.journal[0].spent)


async def test_an_encoded_body_is_not_decoded(service):
    for encoding in ("gzip", "deflate", "br", "zstd", "identity", "junk", ""):
        async with connect(service) as connection:
            connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Encoding": encoding}, question()))

            assert await connection.fault() == Fault(415, "unsupported_encoding")
    assert service.openai.requests == 0


async def test_another_charset_is_refused(service):
    for charset in ("foo", "utf-16", "latin-1", '"utf-32"', "utf-8-sig"):
        headers = {"Content-Type": f"application/json; charset={charset}"}
        async with service.session.post(f"{service.url}/v1/ask", data=question(), headers=headers) as response:
            assert await fault_of(response) == Fault(400, "invalid_request", "Content-Type")
    assert service.openai.requests == 0


async def test_any_way_to_say_utf_8_is_understood(service):
    for content_type in ("application/json", "application/json;charset=UTF-8", 'a/b; charset="utf-8"', "junk", ";;;="):
        async with connect(service) as connection:
            connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Type": content_type}, question()))

            assert (await connection.answer())[0] == 200
