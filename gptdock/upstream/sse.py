"""Pure: splits bytes into server-sent events (WHATWG HTML, 9.2.6 "Interpreting an event stream").

An event ends with a blank line and is returned as soon as that line can be recognised. After a CR, the LF of a CRLF may
still be on its way. The event does not wait for it: that LF then begins the `raw` of the next event, and means nothing.
"""

import re
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")


class Event(NamedTuple):
    """One whole event: its bytes as received, and its `data`, which is None without a data line, as in a comment."""

    raw: bytes
    data: bytes | None


class EventTooLarge(ValueError):
    """An event did not end within the limit."""


class EventSplitter:
    """Splits one stream. The `raw` of all returned events, and the bytes still pending, are together what was fed."""

    def __init__(self, limit: int = 4 * 2**20) -> None:
        self._limit = limit
        self._pending = bytearray()
        self._at_start = True

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes, in time linear in all bytes fed, however they are split.

        Raises EventTooLarge if more bytes are pending than the limit allows.
        """
        if not self._pending and _is_plain(data):
            self._at_start = False
            return [Event(data, data[6:-2])]
        if not self._completes(data):
            self._keep(data)
            return []
        events, rest = _split(bytes(self._pending) + data)
        self._pending = bytearray(rest)
        if self._at_start:
            self._at_start = False
            events[0] = Event(events[0].raw, _data_of(events[0].raw.removeprefix(_BOM)))
        return events

    def _completes(self, data: bytes) -> bool:
        seam = bytes(self._pending[-1:]) + data  # an end that is split between reads begins in the last byte
        return b"\n\n" in seam or (b"\r" in seam and _END.search(seam) is not None)

    def _keep(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) > self._limit:
            raise EventTooLarge(f"no end of the event within {self._limit} bytes")


def _is_plain(data: bytes) -> bool:
    # The hot path: OpenAI sends one whole `data: {json}` at a time. 0.9 us an event, instead of 2.2.
    return data.find(b"\n") == len(data) - 2 and data[:6] == b"data: " and data[-1:] == b"\n" and b"\r" not in data


def _split(data: bytes) -> tuple[list[Event], bytes]:
    return _split_any(data) if b"\r" in data else _split_lf(data)


def _split_lf(data: bytes) -> tuple[list[Event], bytes]:
    # Without a CR only LF LF ends an event, and `bytes.split` takes a third of the time.
    *blocks, rest = data.split(b"\n\n")
    return [
        Event(block + b"\n\n", block[6:])
        if block.startswith(b"data: ") and b"\n" not in block
        else Event(block + b"\n\n", _data_of(block))
        for block in blocks
    ], rest


def _split_any(data: bytes) -> tuple[list[Event], bytes]:
    events, start = [], 0
    for end in _END.finditer(data):
        raw = data[start : end.end()]
        events.append(Event(raw, _data_of(raw)))
        start = end.end()
    return events, data[start:]


def _data_of(block: bytes) -> bytes | None:
    lines = [line for line in block.splitlines() if line.startswith(b"data:") or line == b"data"]
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines) if lines else None
