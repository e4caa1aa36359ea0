"""An upstream that writes when its last write was read, and which of these reads GPTDock took past aiohttp's parser."""

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from gptdock.aiohttp_private.pool import Wire
from gptdock.aiohttp_private.tap import Tap
from tests.harness.hostile import read_request
from tests.harness.processes import PATIENCE_SECONDS

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FIN, RESET = b"a FIN", b"a reset"  # as the last write


def chunk(data: bytes, head: bytes = b"%x") -> bytes:
    """One chunk of HTTP, whose `head` tells its size."""
    return head % len(data) + b"\r\n%b\r\n" % data


class Read(NamedTuple):
    """What came in one read, and whether it went past the parser."""

    data: bytes
    went_past: bool


class Reads(list[Read]):
    """All reads of GPTDock's connections to upstreams; while `parses_all`, none goes past the parser."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.parses_all, self._size, self._came = False, 0, asyncio.Event()
        takes, received = Tap.takes, Wire.data_received
        taken: list[bool] = []

        def take(tap: Tap, data: bytes) -> bool:
            taken.append(not self.parses_all and takes(tap, data))
            return taken[-1]

        def receive(wire: Wire, data: bytes) -> None:
            taken.clear()
            received(wire, data)
            if data:  # aiohttp calls this without any, too
                self.append(Read(data, taken[0] if taken else False))
                self._size += len(data)
                self._came.set()

        patch.setattr(Tap, "takes", take)
        patch.setattr(Wire, "data_received", receive)

    async def have(self, write: bytes, writer: asyncio.StreamWriter) -> None:
        """Write this, and wait until it was read."""
        size = self._size + len(write)
        writer.write(write)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._size < size:
                self._came.clear()
                await self._came.wait()


class Lockstep:
    """Answers each request with `writes`, each of them one read."""

    def __init__(self, reads: Reads) -> None:
        self.reads, self.writes = reads, list[bytes]()
        self.left = asyncio.Event()  # once a connection was closed

    def then(self, *writes: bytes, head: bytes = HEAD) -> None:
        """Answer with these from now on."""
        self.writes = [head, *writes]
        self.reads.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await read_request(reader)
                for write in self.writes:
                    if write in (FIN, RESET):
                        _hang_up(writer, reset=write is RESET)
                        return
                    await self.reads.have(write, writer)
        finally:
            self.left.set()


def _hang_up(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))
    writer.transport.abort()


def past(reads: Sequence[Read]) -> int:
    """How many of these went past the parser."""
    return sum(read.went_past for read in reads)
