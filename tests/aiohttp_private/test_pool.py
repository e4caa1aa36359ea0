"""A client's pool uses a connection again only while nothing came on it unasked."""

import asyncio

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
