"""A connection that resumes only what was paused reads each body as aiohttp alone would."""

import asyncio

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from tests.aiohttp_private.test_parts import MUCH, Server
from tests.aiohttp_private.test_tap_chunks import EVENT, LAST, begun, chunk
from tests.harness.hostile import PATIENCE_SECONDS


async def rest_of(content: aiohttp.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await content.read()


async def test_a_parser_that_never_paused_is_asked_for_nothing(monkeypatch):
    asked = []
    parse = ResponseHandler.data_received

    def note(wire: ResponseHandler, data: bytes) -> None:
        asked.append(data)
        parse(wire, data)

    monkeypatch.setattr(ResponseHandler, "data_received", note)
    wire, content = await begun()
    wire.data_received(chunk(EVENT))
    assert await content.readany() == EVENT
    wire.data_received(LAST)

    assert await rest_of(content) == b""
    assert b"" not in asked


@pytest.mark.parametrize("rest", [b"", LAST, chunk(EVENT), chunk(EVENT) * 2 + LAST])
async def test_a_body_of_which_more_came_than_is_kept_goes_on_once_it_is_read(rest):
    wire, content = await begun()
    wire.data_received(chunk(b"x" * MUCH) + rest)
    assert wire._reading_paused

    assert await content.readany() == b"x" * MUCH

    await asyncio.sleep(0)
    assert not wire._reading_paused
    wire.data_received(b"" if rest.endswith(LAST) else LAST)
    assert await rest_of(content) == EVENT * rest.count(EVENT)


async def test_a_pause_that_the_parser_meets_late_keeps_nothing_back_for_ever():
    wire, content = await begun()
    chunks = content._high_water_chunks + 1
    wire.data_received(chunk(b"x") * chunks)  # the last of them pauses, and no part of a body follows
    assert wire._reading_paused
    assert await content.readany() == b"x" * chunks
    assert not wire._reading_paused

    wire.data_received(chunk(b"y") + chunk(b"z") + LAST)

    assert await rest_of(content) == b"yz"


async def test_a_request_s_body_of_which_more_came_than_is_kept_is_read_whole():
    server = Server()
    server.release.set()
    body = b"x" * MUCH
    async with server.connection() as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%b" % (MUCH, body))

        status, *_ = await connection.answer()

        assert (status, server.bodies) == (200, [body])
