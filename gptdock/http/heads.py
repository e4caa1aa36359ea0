"""Pure: how much of a request's head has come on a connection, from its bytes and what aiohttp's parser made of them.

aiohttp limits each line of a head (8 KB) and their number (128), not the whole; and it does not tell that a head began.
"""

from collections.abc import Sequence
from typing import Protocol

MOST_HEAD_BYTES = 64 * 2**10
_END = b"\r\n\r\n"


class Body(Protocol):
    """The body of a request, as it arrives."""

    total_bytes: int

    def is_eof(self) -> bool:
        """Whether all of it has come."""


class HeadMeter:
    """Follows one connection. `pending` is the number of bytes of a head that has begun and is not complete yet.

    A chunked body is taken for shorter than it is, which does not matter: its connection is not kept.
    """

    __slots__ = ("_body", "_body_bytes", "_held", "_tail", "pending")

    def __init__(self) -> None:
        self.pending = 0
        self._tail = b""  # the last bytes of it: its end may be split between reads
        self._body: Body | None = None
        self._body_bytes = self._held = 0  # of the body: counted so far, and kept back by a parser that is paused

    def feed(self, data: bytes, bodies: Sequence[Body]) -> int | None:
        """Follow `data`, in which the heads of these requests ended.

        Returns how many of them came before one that is too long, which may be incomplete; None if all fit.
        """
        rest = self._behind_the_body(len(data))
        if self._body is not None:
            return None
        text = self._tail + data[max(0, len(data) - rest) :]
        size, at = self.pending - len(self._tail), 0
        for count, body in enumerate(bodies):
            begin = _skip_lines(text, at) if not size and text.startswith(b"\r\n", at) else at
            end = found + len(_END) if (found := text.find(_END, begin)) >= 0 else len(text)
            if size + end - begin > MOST_HEAD_BYTES:
                return count
            size = 0
            self._body, self._body_bytes = body, body.total_bytes
            at = end + body.total_bytes
        if self._body is not None and not self._body.is_eof():
            self.pending, self._tail, self._held = 0, b"", max(0, len(text) - at)
            return None
        self._body = None
        left = text[at if size or at >= len(text) else _skip_lines(text, at) :]
        self.pending = size + len(left) if left else 0
        self._tail = text[-3:] if left else b""
        return len(bodies) if self.pending > MOST_HEAD_BYTES else None

    def _behind_the_body(self, size: int) -> int:
        """How many of `size` new bytes, and of those kept back, came behind the body; all, if there is none."""
        if self._body is None:
            return size
        rest = self._held + size - (self._body.total_bytes - self._body_bytes)
        self._body_bytes, self._held = self._body.total_bytes, rest
        if self._body.is_eof():
            self._body, self._held = None, 0
        return rest


def _skip_lines(text: bytes, at: int) -> int:
    while text.startswith(b"\r\n", at):  # empty lines before a head mean nothing
        at += 2
    return at
