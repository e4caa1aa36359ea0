"""A client's pool uses a connection again only while nothing came on it unasked."""

import asyncio
import ctypes
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest

from gptdock.aiohttp_private.pool import Pool, Wire
from tests.harness.hostile import PATIENCE_SECONDS, raw_upstream
from tests.harness.relays import private_ca


class Server:
    """Answers each request with the same bytes; `writers` are its connections."""

    def __init__(self, answer: bytes) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(self._answer)


@pytest.mark.parametrize("unasked", [b"", b"read", b"unread"])
async def test_a_client_s_pool_asks_what_came_before_it_uses_a_connection_again(unasked):
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello")
    async with raw_upstream(server.serve) as url, aiohttp.ClientSession(connector=Pool()) as session:
        async with session.get(url) as response:
            await response.read()
            Pool.keep(response)
            idle = response._protocol
            assert isinstance(idle, Wire)
        server.writers[0].transport.write(unasked)
        if unasked == b"read":
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not idle.should_close:  # noqa: ASYNC110 - aiohttp has no event for it
                    await asyncio.sleep(0)

        async with session.get(url) as response:
            assert (response._protocol is idle) is (not unasked)
            assert not Pool.is_doubtful(response)


async def test_the_heads_of_an_answer_are_let_go_while_its_body_is_read():
    server = Server(b"HTTP/1.1 200 OK\r\nX-Told: twice\r\nContent-Length: 5\r\n\r\nHe")
    async with raw_upstream(server.serve) as url, aiohttp.ClientSession(connector=Pool()) as session:
        for _ in range(2):
            async with session.get(url) as response:
                assert await response.content.readany() == b"He"
                parts = (response.headers["X-Told"], response.raw_headers[0], response.request_info.headers, object())
                Pool.forget_beginning(response)

                assert len({sys.getrefcount(part) for part in parts}) == 1  # as the last, which nobody else has
                server.writers[0].write(b"llo")
                assert await response.content.read() == b"llo"
                Pool.keep(response)
        assert len(server.writers) == 1


async def test_a_connection_over_tls_lets_go_of_what_its_handshake_took(tmp_path: Path):
    ca, tls = private_ca(tmp_path)
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHe")
    context = ssl.create_default_context(cafile=ca)
    async with raw_upstream(server.serve, tls) as url, aiohttp.ClientSession(connector=Pool(ssl=context)) as session:
        for number in range(2):
            async with session.get(url) as response:
                assert await response.content.readany() == b"He"
                before = _bytes_in_use()
                Pool.forget_beginning(response)

                assert (before - _bytes_in_use() > 2**14) is (number == 0)
                assert response.connection is not None
                assert response.connection.transport is not None
                assert not response.connection.transport.get_extra_info("peercert")
                server.writers[0].write(b"llo")
                assert await response.content.read() == b"llo"
                Pool.keep(response)
    assert len(server.writers) == 1


class MallocInfo(ctypes.Structure):
    """What glibc's malloc tells."""

    _fields_ = (
        ("_before", ctypes.c_size_t * 4),
        ("mapped", ctypes.c_size_t),
        ("_between", ctypes.c_size_t * 2),
        ("used", ctypes.c_size_t),
        ("_behind", ctypes.c_size_t * 2),
    )


_malloc_info = ctypes.CDLL(None).mallinfo2
_malloc_info.restype = MallocInfo


def _bytes_in_use() -> int:
    told = _malloc_info()
    return int(told.used + told.mapped)
