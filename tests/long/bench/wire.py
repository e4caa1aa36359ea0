"""The least of HTTP/1.1 that the simulated services need: one answer after the other, on a bare protocol."""

import asyncio
import re
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Requests(asyncio.Protocol):
    """One connection; `respond` gets each request as a whole, and writes to `transport`."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server under test connected."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            over = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < over:
                return
            head, body, self._buffer = self._buffer[:end], self._buffer[end + 4 : over], self._buffer[over:]
            self.respond(head, body)

    def respond(self, head: bytes, body: bytes) -> None:
        """Answer one request."""
        raise NotImplementedError


def answer(status: bytes, body: bytes, headers: bytes) -> bytes:
    """A whole answer; each header ends its line itself."""
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(body), body)
