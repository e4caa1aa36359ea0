"""A client's pool uses a connection again only while nothing came on it unasked."""

import asyncio
import sys

import aiohttp
import pytest

from gptdock.aiohttp_private.pool import Pool, Wire
from tests.harness.hostile import PATIENCE_SECONDS, raw_upstream


@pytest.mark.parametrize("unasked", [b"", b"read", b"unread"])
async def test_a_client_s_pool_asks_what_came_before_it_uses_a_connection_again(unasked):
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello")

    async with raw_upstream(serve) as url, aiohttp.ClientSession(connector=Pool()) as session:
        async with session.get(url) as response:
            await response.read()
            Pool.keep(response)
            idle = response._protocol
            assert isinstance(idle, Wire)
        writers[0].transport.write(unasked)
        if unasked == b"read":
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not idle.should_close:  # noqa: ASYNC110 - aiohttp has no event for it
                    await asyncio.sleep(0)

        async with session.get(url) as response:
            assert (response._protocol is idle) is (not unasked)
            assert not Pool.is_doubtful(response)


async def test_the_heads_of_an_answer_are_let_go_while_its_body_is_read():
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nX-Told: twice\r\nContent-Length: 5\r\n\r\nHe")

    async with raw_upstream(serve) as url, aiohttp.ClientSession(connector=Pool()) as session:
        for _ in range(2):
            async with session.get(url) as response:
                assert await response.content.readany() == b"He"
                parts = (response.headers["X-Told"], response.raw_headers[0], response.request_info.headers, object())
                Pool.forget_heads(response)

                assert len({sys.getrefcount(part) for part in parts}) == 1  # as the last, which nobody else has
                writers[0].write(b"llo")
                assert await response.content.read() == b"llo"
                Pool.keep(response)
        assert len(writers) == 1
