"""Pure: whole answers, also where a stream was asked for, and streams where a whole answer was.

What the upstream generated is charged in either case. A caller who asked for a stream gets a whole answer as one event
and [DONE]. A caller who asked for a whole answer gets an error, not one that is put together from a stream; so with an
answer of more bytes than can be kept, whose usage is read from its end, or its start.

A large answer is not parsed, which would block the event loop: only its end is, where OpenAI reports the usage, or its
start, if the usage is there. Threads would not help: a parser written in C keeps the interpreter to itself.
"""

import json
import re
from typing import Any, NamedTuple

import orjson

from gptdock.upstream.format import Format
from gptdock.upstream.meter import Meter, parse
from gptdock.upstream.sse import BOM, Event, EventSplitter
from gptdock.upstream.usage import as_reported, sane_usage

LARGE_BYTES = 64 * 2**10  # parsed in 0.3 ms
END_BYTES = 64 * 2**10  # in which a usage is looked for
TEXT_BYTES = 256 * 2**10  # of an answer that is too large: more tokens than any hold
_USAGE = re.compile(rb'"usage"\s*:\s*')
_LINE = re.compile(rb"\s*(?:data|event|id|retry)?:")  # as a stream begins
_DONE = Event(b"data: [DONE]\n\n", b"[DONE]")


class Answer(NamedTuple):
    """A whole answer: its bytes, and its JSON, of a large one only a part. `fault`: why no caller can have it.

    `is_answer`: whether something was generated, as opposed to an error in spite of the status.
    """

    raw: bytes
    content: dict[str, Any]
    fault: str = ""
    is_answer: bool = True


def read(raw: bytes, form: Format) -> Answer | None:
    """The answer or the error in a whole body; None if it is neither. Raises ValueError if it is not JSON."""
    raw = raw.removeprefix(BOM)
    if len(raw) > LARGE_BYTES and (known := _known(raw, form)):
        return Answer(raw, known)
    if _LINE.match(raw):
        return _read_stream(raw, form)
    content = parse(raw or b"null")  # an empty body: nothing was generated
    if not isinstance(content, dict):
        return None
    is_answer = form.is_answer(content) or sane_usage(form.usage_of(content)) is not None
    return Answer(raw, content, is_answer=is_answer) if is_answer or content.get("error") else None


def read_too_large(start: bytes, end: bytes, form: Format) -> Answer:
    """What is known of an answer of which only the start and the end were kept. All that is not text counts as text."""
    content = _believed(_end(end), form) or _believed(_start(start), form)
    text = start[:TEXT_BYTES].decode("utf-8", "replace")
    return Answer(b"", content or form.of_text(text), "The upstream's answer is too large.")


def to_events(answer: Answer, form: Format) -> list[Event]:
    """The events of an answer, for a caller who asked for a stream: of one that is too large only what was used."""
    if _LINE.match(answer.raw):
        return EventSplitter(keeps_names=form.names_events).feed(answer.raw + b"\n\n")
    parsed: Any = parse(answer.raw or b"{}")
    is_whole = not answer.fault
    events = form.to_events(parsed, form.usage_of(answer.content), is_whole=is_whole)
    return [_event(each, form) for each in events] + ([_DONE] if is_whole and form.ends_by_done else [])


def _read_stream(raw: bytes, form: Format) -> Answer | None:
    meter = Meter(form)
    for event in EventSplitter().feed(raw + b"\n\n"):
        meter.read(event)
    if not meter.begun:
        return None
    content = form.of_text(meter.text()) | {"usage": as_reported(meter.usage) if meter.usage else None}
    return Answer(raw, content, "The upstream sent a stream in place of a whole answer.")


def _known(raw: bytes, form: Format) -> dict[str, Any] | None:
    if end := _believed(_end(raw), form):
        return end
    return _believed(_start(raw), form) if raw[-100:].rstrip().endswith(b"}") else None


def _end(raw: bytes) -> object:
    """The JSON object from its last field `usage` on, if that is a field of the whole, and all of it came."""
    start = raw.rfind(b'"usage"', max(0, len(raw) - END_BYTES))
    try:
        return parse(b"{" + raw[start:]) if start >= 0 else None
    except ValueError:  # it belongs to something within
        return None


def _start(raw: bytes) -> object:
    """The JSON object up to its field `usage`, if that is among the first and a field of the whole."""
    if not (found := _USAGE.search(raw, 0, END_BYTES)):
        return None
    value = raw[found.end() : found.end() + END_BYTES].decode("latin-1")  # a character a byte, as all syntax is ASCII
    try:
        _, length = json.JSONDecoder().raw_decode(value)
        return parse(raw[: found.end() + length] + b"}")
    except (ValueError, RecursionError):
        return None


def _believed(content: object, form: Format) -> dict[str, Any] | None:
    if not isinstance(content, dict):
        return None
    usage = sane_usage(form.usage_of(content))
    return content if usage is not None and not (form.has_text and usage.denies_text) else None


def _event(content: dict[str, Any], form: Format) -> Event:
    try:
        data = orjson.dumps(content)
    except (TypeError, RecursionError):  # half a surrogate pair, a huge number
        data = json.dumps(content, separators=(",", ":")).encode()
    name = b"event: %b\n" % str(content.get("type")).encode() if form.names_events else b""
    return Event(name + b"data: " + data + b"\n\n", data)
