"""A server whose every byte a test decides, with the HTTP client that the test is about."""

import asyncio
from typing import NamedTuple

from gptdock.ledger.http_client import HTTPClient, Server
from tests.harness.hostile import PATIENCE_SECONDS, read_request

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


def answer(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


class Accepted(NamedTuple):
    """The server's end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def serve(self, data: bytes) -> None:
        """Answer the next request with this."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await read_request(self.reader)
        self.writer.write(data)

    async def ended(self) -> None:
        """The client has closed it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await self.reader.read() == b""


class Peer:
    """A server, and the client that a test is about."""

    def __init__(self, url: str, accepted: asyncio.Queue[Accepted]) -> None:
        self.client = HTTPClient(Server.at(url, None))
        self.accepted = accepted
        self.tasks: list[asyncio.Task[bytes]] = []

    def send(self) -> asyncio.Task[bytes]:
        """A request is on its way; the body of its answer."""
        self.tasks.append(asyncio.create_task(self.body()))
        return self.tasks[-1]

    async def body(self) -> bytes:
        """The body of the answer to a request."""
        return (await self.client.send(REQUEST)).body

    async def accept(self) -> Accepted:
        """The next connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.accepted.get()
