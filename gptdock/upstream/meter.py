"""Pure: reads one answer: what of it the caller sees, what text was generated, what the upstream reports as used.

A reported usage counts if it can be believed and no text came after it. Until then the text of all events is kept, and
counted only if the answer is cut. An event that is not JSON counts as text, all its bytes, because a charge that is too
high is better than an answer for free. JSON has the text that `texts` finds in it, and otherwise none.
"""

import json
import re
from typing import Any, NamedTuple

import orjson

from gptdock.upstream.sse import Event
from gptdock.upstream.texts import text_of
from gptdock.upstream.usage import Usage, sane_usage

_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')  # what stands in a JSON string as it is
_CONTENT, _NOISE = b'"content":"', b'"obfuscation":"'
_NO_ERROR: tuple[object, ...] = (None, "", False, 0, [])  # what upstreams put where an error would be


def is_chunk(data: bytes | None) -> bool:
    """Whether `data` can be an event of a completion stream: [DONE] or a JSON object."""
    return data is not None and (_is_done(data) or isinstance(_parsed_or_none(data), dict))


def says_nothing(data: bytes) -> bool:
    """Whether `data` is JSON, but not an object: some upstreams begin with `null` or `[]` to show that they live."""
    try:
        return not (_is_done(data) or isinstance(parse(data), dict))
    except ValueError:
        return False


class Shape(NamedTuple):
    """The bytes around the text in an event: its start, what follows the text, and, after random padding, its end.

    OpenAI pads events with an `obfuscation` of random letters against eavesdroppers; `end` is None without one.
    """

    start: bytes
    middle: bytes
    end: bytes | None

    def text_of(self, data: bytes) -> bytes | None:
        """The text of an event that is like this one but for text and padding; None of any other."""
        if not data.startswith(self.start):
            return None
        end_of_text = data.find(self.middle, len(self.start))
        padded, end = end_of_text + len(self.middle), len(data) - len(self.end or b"")
        if not (end_of_text > 0 and data.endswith(self.end or b"") and padded <= end):
            return None
        text, padding = data[len(self.start) : end_of_text], data[padded:end]
        if not (_PLAIN.fullmatch(padding) if self.end else not padding):
            return None
        return text if _PLAIN.fullmatch(text) else _unescaped(text)


def _unescaped(text: bytes) -> bytes | None:
    """What stands in a JSON string, without its escapes; None if it ends within, or is odd."""
    try:
        value = orjson.loads(b'"%b"' % text)
    except ValueError:
        return None
    return value.encode() if isinstance(value, str) else None


class Meter:
    """Reads the events of one stream."""

    def __init__(self, *, show_usage: bool = False) -> None:
        self.usage: Usage | None = None
        self.odd_usage = False
        self.error: dict[str, Any] | None = None
        self.begun = False
        self.has_text = False
        self.done = False
        self._show_usage = show_usage
        self._utf8 = bytearray()  # of the text so far; half a surrogate pair as it is
        self._shape: Shape | None = None

    def read(self, event: Event) -> bool:
        """Note what `event` tells. True if the caller is to see it; false from an error on, and after [DONE]."""
        data = event.data
        if not data or self.done or self.error is not None:
            return False
        # The hot path: an event that differs from a parsed one by its text alone; 1 us, and parsing takes 4.
        if self._shape and self.usage is None and (text := self._shape.text_of(data)) is not None:
            self._utf8 += text if text.isascii() else text.decode("utf-8", "replace").encode()
            return True
        if _is_done(data):
            self.done = True
            return True
        return self._look_into(data)

    def read_answer(self, answer: dict[str, Any], raw: bytes) -> None:
        """Note what a whole answer tells; `raw` is its bytes."""
        self.done = self.has_text = True
        text = _text(answer, raw)
        if _has(answer, "usage"):
            self._note_usage(answer["usage"], beside_text=bool(text))
        if self.usage is None:
            self._add(text)

    @property
    def final_usage(self) -> Usage | None:
        """The usage, if the answer may end with it: not in an answer that was cut before anything was generated."""
        usage = self.usage
        ended = self.done or self.error is not None or self.has_text
        return usage if usage is not None and (ended or not usage.denies_text) else None

    @property
    def text_bytes(self) -> int:
        """How much text there is so far."""
        return len(self._utf8)

    def text_from(self, start: int) -> bytes:
        """The text from this byte on, in UTF-8."""
        return bytes(self._utf8[start:])

    def text(self) -> str:
        """The text that was generated so far."""
        return self._utf8.decode("utf-8", "surrogatepass")

    def _look_into(self, data: bytes) -> bool:
        try:
            chunk = parse(data)
        except ValueError:
            return not data.isspace() and self._note_text(data.decode("utf-8", "replace"))
        if not isinstance(chunk, dict):
            return True
        if text := _text(chunk, data):
            self._note_text(text)
            self._shape = _shape(data, chunk, text) or self._shape
        return self._note(chunk, _error(chunk))

    def _note_text(self, text: str) -> bool:
        self.has_text = True
        # An upstream may report usage with every chunk; more text makes it stale, and is counted if a cut follows.
        self.usage = None
        self._add(text)
        return True

    def _add(self, text: str) -> None:
        self._utf8 += text.encode("utf-8", "surrogatepass")

    def _note(self, chunk: dict[str, Any], error: dict[str, Any] | None) -> bool:
        if _has(chunk, "usage"):
            self._note_usage(chunk["usage"], beside_text=self.has_text)
        if error is not None:
            self.error = error
            return False
        self.begun = True
        # GPTDock asked for the usage-only chunk; the caller sees it only if it asked, too.
        return self._show_usage or bool(chunk.get("choices")) or not _has(chunk, "usage")

    def _note_usage(self, value: object, *, beside_text: bool) -> None:
        usage = sane_usage(value)
        if usage is not None and beside_text and usage.denies_text:
            usage = None
        self.odd_usage = self.odd_usage or usage is None
        if usage is not None and (self.usage is None or usage.total_tokens >= self.usage.total_tokens):
            self.usage = usage


def _is_done(data: bytes) -> bool:
    return data.strip() == b"[DONE]"


def parse(data: bytes) -> object:
    """The JSON value in `data`. Raises ValueError."""
    try:
        return orjson.loads(data)  # 0.7 us, json.loads takes 6
    except ValueError:  # it is stricter than some upstreams: NaN, unpaired surrogates, bytes that are not UTF-8
        try:
            return json.loads(data.decode("utf-8", "replace"))
        except RecursionError as exc:
            raise ValueError("nested too deeply") from exc


def _parsed_or_none(data: bytes) -> object:
    try:
        return parse(data)
    except ValueError:
        return None


def _text(answer: dict[str, Any], data: bytes) -> str:
    try:
        return text_of(answer)
    except RecursionError:
        return data.decode("utf-8", "replace")


def _error(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """The error that an event tells. Some upstreams send it as the event itself, or as a text."""
    error = chunk.get("error")
    if error not in _NO_ERROR and (error != {} or not chunk.get("choices")):
        return error if isinstance(error, dict) else {"message": str(error)}
    return chunk if "error" in (chunk.get("object"), chunk.get("type")) else None


def _shape(data: bytes, chunk: dict[str, Any], text: str) -> Shape | None:
    """The shape of an event that has one choice with plain content, and nothing else to tell; otherwise None."""
    if _has(chunk, "usage") or _has(chunk, "error") or data.count(_CONTENT) != 1:
        return None
    before, _, rest = data.partition(_CONTENT)
    piece, quote, after = rest.partition(b'"')
    if piece.decode("utf-8", "replace") != text or not _has_only_content(chunk["choices"], text):
        return None
    middle, key, last = after.rpartition(_NOISE)
    if not key:
        return Shape(before + _CONTENT, quote + after, None)
    return Shape(before + _CONTENT, quote + middle + key, last[last.index(b'"') :])


def _has_only_content(choices: object, text: str) -> bool:
    match choices:
        case [{"delta": delta, **rest}]:
            return bool(delta == {"content": text} and "message" not in rest)
    return False


def _has(chunk: dict[str, Any], name: str) -> bool:
    return chunk.get(name) is not None
