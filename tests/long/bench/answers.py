"""Reads one HTTP answer, JSON or SSE, as it comes: how many events it had, and whether it came whole."""

import re

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_CODE = re.compile(rb'"code": ?"(\w+)"')
_END = b"data: [DONE]\n\n"


class Answer:
    """One answer, as far as it came."""

    __slots__ = ("_pending", "_tail", "closes", "events", "length", "status", "texts")

    def __init__(self) -> None:
        self.status = self.events = self.texts = 0
        self.length: int | None = None  # None: chunked
        self.closes = False  # the connection, after it
        self._pending = self._tail = b""

    @property
    def is_done(self) -> bool:
        """Whether a stream ended with [DONE]."""
        return self._tail.endswith(_END)

    @property
    def refusal(self) -> str:
        """Status and code of an answer that is none."""
        code = _CODE.search(self._pending)
        return f"{self.status} {code[1].decode() if code else ''}".strip()

    def feed(self, data: bytes) -> bool:
        """Whether the answer is over with these bytes."""
        if self._pending:
            data = self._pending + data
        if not self.status:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._pending = data
                return False
            self._head(data[:end])
            data = data[end:]
        if self.length is None:
            return self._chunks(data)
        self._pending = data
        return len(data) >= self.length

    def _head(self, head: bytes) -> None:
        status, length = _HEAD.match(head), _LENGTH.search(head)
        assert status, head
        self.status, self.length = int(status[1]), int(length[1]) if length else None
        self.closes = _CLOSE.search(head) is not None

    def _chunks(self, data: bytes) -> bool:
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:end], 16)
            over = end + size + 4
            if over > len(data):
                break
            if not size:
                return True
            self._part(data[end + 2 : over - 2])
            at = over
        self._pending = data[at:]
        return False

    def _part(self, part: bytes) -> None:
        self.events += part.count(b"\n\n")
        self.texts += part.count(b'"content":"')  # the role's is empty, and the first
        self._tail = part if len(part) >= len(_END) else (self._tail + part)[-len(_END) :]
