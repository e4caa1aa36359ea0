"""Pure: tells the text of an event that is like an earlier one but for its text, without parsing it."""

import re
from typing import NamedTuple

import orjson

_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')  # what stands in a JSON string as it is
_NOISE = b'"obfuscation":"'


class Shape(NamedTuple):
    """The bytes around the text in an event, as callers get it: its start, what follows the text, and, after random
    padding, its end.

    OpenAI pads events with an `obfuscation` of random letters against eavesdroppers; `end` is None without one.
    """

    start: bytes
    middle: bytes
    end: bytes | None

    def text_of(self, raw: bytes) -> bytes | None:
        """The text of an event that is like this one but for text and padding; None of any other."""
        start, middle, end = self
        if not raw.startswith(start):
            return None
        end_of_text = raw.find(b'"', len(start))
        if not raw.startswith(middle, end_of_text) and (end_of_text := raw.find(middle, len(start))) < 0:
            return None
        padded = end_of_text + len(middle)
        if end is None:
            if padded != len(raw):
                return None
        elif not (raw.endswith(end) and padded + len(end) <= len(raw) and _PLAIN.fullmatch(raw[padded : -len(end)])):
            return None
        text = raw[len(start) : end_of_text]
        return text if _PLAIN.fullmatch(text) else _unescaped(text)

    def with_text(self, text: bytes, padding: bytes) -> bytes:
        """An event of this shape."""
        return self.start + text + self.middle + (b"" if self.end is None else padding + self.end)

    @classmethod
    def of(cls, raw: bytes, key: bytes, text: str) -> "Shape | None":
        """The shape of an event whose text stands plainly after the only `key`; None if it does not."""
        if raw.count(key) != 1:
            return None
        before, _, rest = raw.partition(key)
        piece, quote, after = rest.partition(b'"')
        if piece.decode("utf-8", "replace") != text:
            return None
        middle, noise, last = after.rpartition(_NOISE)
        if not noise:
            return cls(before + key, quote + after, None)
        return cls(before + key, quote + middle + noise, last[last.index(b'"') :])


def _unescaped(text: bytes) -> bytes | None:
    """What stands in a JSON string, without its escapes; None if it ends within, or is odd."""
    try:
        value = orjson.loads(b'"%b"' % text)
    except ValueError:
        return None
    return value.encode() if isinstance(value, str) else None
