"""Pure: reads one HTTP/1.1 answer from bytes as they come (RFC 9112), whole or not at all.

An answer says how long it is, by Content-Length or in chunks. One that ends where its connection ends is refused: it
could not be told from one that was cut. So is whatever else is odd, since nobody reads these answers but a program.
"""

import re
from collections.abc import Generator
from typing import NamedTuple

MOST_HEAD = 65_536  # bytes of a head, or of one line between chunks
MOST_BODY = 4 * 1024 * 1024  # bytes; DynamoDB's pages have 1 MB of names and values, of which JSON makes less than 3

_START = re.compile(rb"HTTP/1\.([01]) ([2-5]\d\d)[ \r]")
_FIELD = re.compile(rb"\r\n(connection|content-length|date|transfer-encoding):([^\r\n]*)(?=\r\n)", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?", re.DOTALL)


class BrokenAnswer(Exception):
    """What came is not an HTTP answer, or too long; the text says how."""


class Answer(NamedTuple):
    """An answer that is whole."""

    status: int
    body: bytes
    date: str  # when the server answered, by its clock, as its header Date says; empty if it has none
    keep: bool  # whether the connection may serve another request


class _Head(NamedTuple):
    status: int
    size: int | None  # bytes of the body; None: it comes in chunks
    date: str
    keep: bool


Reading = Generator[None, bytes, Answer]
_Part = Generator[None, bytes, bytes]


def whole(data: bytes) -> Answer | None:
    """The answer that these bytes are, if they are one and no more. Raises BrokenAnswer.

    DynamoDB's answers mostly come in one piece: to read such a one as pieces would take twice as long.
    """
    end = data.find(b"\r\n\r\n")
    if not 0 <= end <= MOST_HEAD:
        return None
    head = _head(data[:end])
    if head.size is None or end + 4 + head.size != len(data):
        return None
    return Answer(head.status, data[end + 4 :], head.date, head.keep)


def reading() -> Reading:
    """Reads what is sent to it after a first `next`, and returns the Answer. Raises BrokenAnswer."""
    buffer = bytearray((yield))
    status, size, date, keep = _head((yield from _until(buffer, b"\r\n\r\n")))
    body = yield from (_chunks(buffer) if size is None else _exactly(buffer, size))
    # More bytes than the answer belong to no request: nothing that follows on this connection can be trusted.
    return Answer(status, body, date, keep and not buffer)


def _head(head: bytes) -> _Head:
    start, found = _START.match(head), _FIELD.findall(head + b"\r\n")
    fields = {name.lower(): value.strip(b" \t") for name, value in found}
    if not start or len(fields) < len(found):
        raise BrokenAnswer("head")
    coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if (length is None) == (coding is None) or (coding is not None and coding.lower() != b"chunked"):
        raise BrokenAnswer("no length")
    keep = start[1] == b"1" and b"close" not in fields.get(b"connection", b"").lower()
    size = None if length is None else _size(length, 10)
    return _Head(int(start[2]), size, fields.get(b"date", b"").decode("latin-1"), keep)


def _chunks(buffer: bytearray) -> _Part:
    body = bytearray()
    while line := (yield from _until(buffer, b"\r\n")):
        found = _CHUNK.fullmatch(line)
        if not found:
            raise BrokenAnswer("chunk")
        size = _size(found[1], 16)
        if size == 0:
            while (yield from _until(buffer, b"\r\n")):
                pass  # trailers
            return bytes(body)
        body += yield from _exactly(buffer, size)
        if len(body) > MOST_BODY or (yield from _exactly(buffer, 2)) != b"\r\n":
            raise BrokenAnswer("chunk")
    raise BrokenAnswer("chunk")


def _until(buffer: bytearray, end: bytes) -> _Part:
    """Take from the buffer what is before `end`, and `end`, waiting for it."""
    at = 0
    while (at := buffer.find(end, max(0, at))) < 0:
        if len(buffer) > MOST_HEAD:
            raise BrokenAnswer("too long")
        at = len(buffer) - len(end)
        buffer += yield
    taken = bytes(buffer[:at])
    del buffer[: at + len(end)]
    return taken


def _exactly(buffer: bytearray, size: int) -> _Part:
    while len(buffer) < size:
        buffer += yield
    taken = bytes(buffer[:size])
    del buffer[:size]
    return taken


def _size(digits: bytes, base: int) -> int:
    if not digits.isalnum() or len(digits) > 8:
        raise BrokenAnswer("length")
    try:
        size = int(digits, base)
    except ValueError:
        raise BrokenAnswer("length") from None
    if size > MOST_BODY:
        raise BrokenAnswer("too long")
    return size
