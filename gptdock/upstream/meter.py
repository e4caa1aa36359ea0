"""Pure: reads one answer: what of it the caller sees, what text was generated, what the upstream reports as used.

A reported usage counts if it can be believed and no text came after it. Until then events are kept unparsed, and their
text is decoded only when it must be counted: an answer that ends well never needs that. An event that cannot be
understood counts as text, all its bytes, because a charge that is too high is better than an answer for free.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import orjson

from gptdock.settings import MOST_ANSWER_TOKENS
from gptdock.upstream.sse import Event

FOLD_BYTES = 4 * 1024  # of raw events, five times their text: with 64 KiB a stream took 44 KiB more memory than with 4

# Only an event that matches is parsed: the search takes 0.7 us, parsing 6. JSON escapes quotes within strings, so what
# matches is a key. The quantifiers are possessive: by giving back its space, `: null` would match.
_TELLING = re.compile(rb'"(?:usage|error)"\s*+:\s*+(?!null)')
_ODD_SHAPES = (KeyError, TypeError, AttributeError)


class Usage(NamedTuple):
    """What the upstream reports as used."""

    total_tokens: int
    prompt_tokens: int
    completion_tokens: int


def sane_usage(value: object) -> Usage | None:
    """The usage in `value`; None if its total is not from 0 to MOST_ANSWER_TOKENS. A part that is not counts as 0."""
    if not isinstance(value, dict):
        return None
    total = _sane(value.get("total_tokens"))
    if total is None:
        return None
    return Usage(total, _sane(value.get("prompt_tokens")) or 0, _sane(value.get("completion_tokens")) or 0)


def is_chunk(data: bytes | None) -> bool:
    """Whether `data` can be an event of a completion stream: [DONE] or a JSON object."""
    return data is not None and (_is_done(data) or _parse(data) is not None)


def text_of_answer(answer: dict[str, Any], raw: bytes) -> str:
    """The text that was generated for a whole answer; all of `raw`, its bytes, if it has an unknown shape."""
    try:
        return _text(answer, "message")
    except _ODD_SHAPES:
        return raw.decode("utf-8", "replace")


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
        self._folded = ""
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    def read(self, event: Event) -> bool:
        """Note what `event` tells. True if the caller is to see it; false from an error on, and after [DONE]."""
        data = event.data
        if data is None or self.done:
            return False
        if _is_done(data):
            self.done = self.error is None
            return self.done
        # The hot path: an event that can only carry more text is kept unparsed.
        if self.has_text and self.usage is None and not _TELLING.search(data):
            self._keep(data)
            return self.error is None
        return self._look_into(data) and self.error is None

    def read_answer(self, answer: dict[str, Any], raw: bytes) -> None:
        """Note what a whole answer tells; `raw` is its bytes."""
        self.done = self.has_text = True
        if _has(answer, "usage"):
            self._note_usage(answer["usage"])
        if self.usage is None:
            self._folded = text_of_answer(answer, raw)

    def text(self) -> str:
        """The text that was generated so far."""
        self._fold()
        return self._folded

    def _look_into(self, data: bytes) -> bool:
        chunk = _parse(data)
        if _event_text(data, chunk):
            self.has_text = True
            # An upstream may report usage with every chunk; more text makes it stale, and is counted if a cut follows.
            self.usage = None
        self._keep(data)
        return chunk is None or self._note(chunk)

    def _note(self, chunk: dict[str, Any]) -> bool:
        if _has(chunk, "usage"):
            self._note_usage(chunk["usage"])
        if _has(chunk, "error"):
            self._note_error(chunk["error"])
            return False
        self.begun = True
        # GPTDock asked for the usage-only chunk; the caller sees it only if it asked, too.
        return self._show_usage or bool(chunk.get("choices")) or not _has(chunk, "usage")

    def _note_usage(self, value: object) -> None:
        usage = sane_usage(value)
        self.odd_usage = self.odd_usage or usage is None
        self.usage = usage or self.usage

    def _note_error(self, error: object) -> None:
        self.error = error if isinstance(error, dict) else {"message": str(error)}

    def _keep(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > FOLD_BYTES:
            self._fold()

    def _fold(self) -> None:
        self._folded += "".join(_event_text(data, _parse(data)) for data in self._pending)
        self._pending.clear()
        self._pending_bytes = 0


def _sane(tokens: object) -> int | None:
    return tokens if type(tokens) is int and 0 <= tokens <= MOST_ANSWER_TOKENS else None


def _is_done(data: bytes) -> bool:
    return data.strip() == b"[DONE]"


def _parse(data: bytes) -> dict[str, Any] | None:
    try:
        chunk = orjson.loads(data)  # 0.7 us, json.loads takes 6
    except ValueError:  # it is stricter than some upstreams: NaN, unpaired surrogates, bytes that are not UTF-8
        try:
            chunk = json.loads(data.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
    return chunk if isinstance(chunk, dict) else None


def _event_text(data: bytes, chunk: dict[str, Any] | None) -> str:
    if chunk is not None and "choices" not in chunk and (_has(chunk, "usage") or _has(chunk, "error")):
        return ""
    try:
        return _text(chunk, "delta")
    except _ODD_SHAPES:
        return data.decode("utf-8", "replace")


def _has(chunk: dict[str, Any], name: str) -> bool:
    return chunk.get(name) is not None


def _text(answer: Any, part: Literal["delta", "message"]) -> str:
    return "".join(text for choice in answer["choices"] or () for text in _texts(choice[part] or {}))


def _texts(message: dict[str, Any]) -> Iterator[str]:
    yield message.get("content") or ""
    yield message.get("refusal") or ""
    yield message.get("reasoning_content") or message.get("reasoning") or ""
    yield from _call_texts(message.get("function_call") or {})
    for call in message.get("tool_calls") or ():
        yield from _call_texts(call["function"] if "function" in call else call["custom"])


def _call_texts(call: dict[str, Any]) -> Iterator[str]:
    yield call.get("name") or ""
    yield call.get("arguments") or call.get("input") or ""
