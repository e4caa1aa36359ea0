"""Pure: whole answers, also where a stream was asked for, and streams where a whole answer was.

What the upstream generated is charged in either case. A caller who asked for a stream gets a whole answer as one event
and [DONE]. A caller who asked for a whole answer gets an error, not one that is put together from a stream; so with an
answer of more bytes than can be kept, whose usage is read from its end, or its start.

A large answer is not parsed, which would block the event loop: only its end is, where OpenAI reports the usage, or its
start, if the usage is there. Without one there, one over 1 MB is passed on unparsed, and counted by its bytes. Threads
would not help: a parser written in C keeps the interpreter to itself. A stream is read in slices, between which others
have their turns.
"""

import json
import re
from typing import Any, NamedTuple

import orjson

from gptdock.errors import APIError, UpstreamError
from gptdock.upstream import complaints
from gptdock.upstream.format import Format
from gptdock.upstream.loose_json import as_object, parse
from gptdock.upstream.meter import Meter
from gptdock.upstream.sse import BOM, Event, EventSplitter, EventTooLarge
from gptdock.upstream.usage import as_reported, sane_usage

LARGE_BYTES = 64 * 2**10  # parsed in 0.3 ms
MOST_PARSED_BYTES = 2**20  # in 10 to 50 ms
SLICE_BYTES = 2**14  # of a stream: 15 ms if its events are as small as can be
END_BYTES = 64 * 2**10  # in which a usage is looked for
TEXT_BYTES = 256 * 2**10  # of an answer that is too large: more tokens than any hold
_USAGE = re.compile(rb'"usage"\s*:\s*')
_LINE = re.compile(rb"\s*(?:data|event|id|retry)?:")  # as a stream begins
_VALUE = re.compile(rb"\s*[{\[]")  # as the JSON of an answer, or of an error, begins
_DONE = Event(b"data: [DONE]\n\n", b"[DONE]")


class Answer(NamedTuple):
    """A whole answer: its bytes, and its JSON, of a large one only a part. `fault`: why no caller can have it.

    `is_answer`: whether something was generated; otherwise it is free. `is_error`: it is an error in spite of the
    status, which may report a usage, too.
    """

    raw: bytes
    content: dict[str, Any]
    fault: APIError | None = None
    is_answer: bool = True
    is_error: bool = False


class StreamReader:
    """Reads a stream that came in place of a whole answer of `most` bytes, as it comes."""

    def __init__(self, form: Format, most: int) -> None:
        self._form, self._bytes_left = form, most
        self._meter, self._splitter = Meter(form), EventSplitter()

    def feed(self, data: bytes) -> None:
        """Read what came. Raises EventTooLarge if one event, or all of them, are more than may be kept."""
        for event in self._splitter.feed(data):
            self._meter.read(event)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise EventTooLarge("the stream is too large for an answer")

    def answer(self) -> Answer | None:
        """What all of it told: an answer with a fault, or an error; None if it told nothing."""
        meter = self._meter
        for event in self._splitter.feed(b"\n\n"):
            meter.read(event)
        usage = {"usage": as_reported(meter.final_usage) if meter.final_usage else None}
        if meter.begun:
            fault = UpstreamError("The upstream sent a stream in place of a whole answer.")
            return Answer(b"", self._form.of_text(meter.text()) | usage, fault)
        return _judged(Answer(b"", {"error": meter.error} | usage), self._form) if meter.error is not None else None


def is_stream(start: bytes) -> bool:
    """Whether a body that starts so is a stream."""
    return _LINE.match(start.removeprefix(BOM)) is not None


def is_whole(start: bytes) -> bool:
    """Whether a body that starts so is one JSON value, and not a stream."""
    return _VALUE.match(start.removeprefix(BOM)) is not None


def read(raw: bytes, form: Format) -> Answer | None:
    """The answer or the error in a whole body; None if it is neither. Raises ValueError if it is not JSON.

    One over MOST_PARSED_BYTES is an answer if it begins and ends like one.
    """
    raw = raw.removeprefix(BOM)
    if len(raw) > LARGE_BYTES and (known := _known(raw, form)):
        return _finished(Answer(raw, known), _before_lists(raw), form)
    if len(raw) > MOST_PARSED_BYTES:
        return _finished(_unparsed(raw, form), _before_lists(raw), form)
    value = parse(raw or b"null")  # an empty body: nothing was generated
    content = as_object(value)
    if content is None and isinstance(value, list):  # so others answer
        if (used := _used_in(value, form)) is not None:
            return Answer(raw, used, UpstreamError("The upstream's answer is of an unknown kind."))
        content = {"": value}
    return _judged(Answer(raw, content), form) if content is not None else None


def _used_in(values: list[Any], form: Format) -> dict[str, Any] | None:
    """What a list of answers, or of the events of one, cost, as one answer; None if no usage is in it."""
    parts = [each for each in values if isinstance(each, dict)]
    usages = [usage for each in parts if (usage := sane_usage(form.usage_of(each)))]
    if not usages:
        return None
    return form.of_text("".join(map(form.text_of, parts))) | {"usage": as_reported(max(usages))}


def _judged(answer: Answer, form: Format) -> Answer | None:
    content = answer.content
    if form.is_answer(content):
        return _finished(answer, content, form)
    usage = sane_usage(form.usage_of(content))
    if complaints.find(content) is not None:
        return answer._replace(is_answer=usage is not None and usage.total_tokens > 0, is_error=True)
    if usage is not None:
        return answer
    if complaints.read(content).message:
        return answer._replace(is_answer=False, is_error=True)
    if not form.told(content, form.text_of(content)).more:
        return None
    return answer._replace(fault=UpstreamError("The upstream's answer is of an unknown kind."))


def _finished(answer: Answer, told: dict[str, Any], form: Format) -> Answer:
    is_cut = form.is_unfinished(told)
    return answer._replace(fault=UpstreamError("The upstream's answer is not finished.")) if is_cut else answer


def read_too_large(start: bytes, end: bytes, form: Format) -> Answer:
    """What is known of an answer of which only the start and the end were kept. All that is not text counts as text."""
    content = usage_in(start, end, form)
    text = start[:TEXT_BYTES].decode("utf-8", "replace")
    return Answer(b"", content or form.of_text(text), UpstreamError("The upstream's answer is too large."))


def usage_in(start: bytes, end: bytes, form: Format) -> dict[str, Any] | None:
    """The part of a JSON object that has its usage, of which the start and the end were kept; None without one."""
    return _believed(_end(end), form) or _believed(_start(start), form)


def in_spite(content: object, form: Format) -> Answer | None:
    """The answer in the JSON that came with an error's status; None if nothing says that anything was generated."""
    if not isinstance(content, dict):
        return None
    usage = sane_usage(form.usage_of(content))
    try:
        is_answer = (usage is not None and usage.total_tokens > 0) or bool(form.text_of(content))
    except RecursionError:  # what is nested so deeply stands in fields of text
        is_answer = True
    return Answer(b"", content) if is_answer else None


def to_events(answer: Answer, form: Format) -> list[Event]:
    """The events of an answer, for a caller who asked for a stream: of one with a fault only what it cost, unseen.

    Raises RecursionError if one without a fault is nested too deeply to be written.
    """
    if answer.fault:
        return [_event(each, form)._replace(raw=b"") for each in _cost(answer, form)]
    parsed = as_object(parse(answer.raw)) or {}
    events = form.to_events(parsed, form.usage_of(answer.content), is_whole=True)
    return [_event(each, form) for each in events] + ([_DONE] if form.ends_by_done else [])


def _cost(answer: Answer, form: Format) -> list[dict[str, Any]]:
    content = answer.content
    if sane_usage(usage := form.usage_of(content)) is not None:
        return form.to_events({}, usage, is_whole=False)
    try:
        text = form.text_of(content)
        text += form.told(content, text).more
    except RecursionError:
        text = answer.raw.decode("utf-8", "replace")
    return [form.of_text(text)]


def _unparsed(raw: bytes, form: Format) -> Answer:
    if not raw[:100].lstrip().startswith(b"{") or not raw[-100:].rstrip().endswith(b"}"):
        raise ValueError("not a JSON object")
    return Answer(raw, form.of_text(raw[:TEXT_BYTES].decode("utf-8", "replace")))


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


def _before_lists(raw: bytes) -> dict[str, Any]:
    """The fields of a JSON object before the first list in it, if they can be read."""
    head = raw[: max(0, raw.find(b"[", 0, END_BYTES))].rpartition(b",")[0]
    return _object_or_empty(head + b"}")


def _object_or_empty(data: bytes) -> dict[str, Any]:
    try:
        return as_object(parse(data)) or {}
    except ValueError:
        return {}


def _believed(content: object, form: Format) -> dict[str, Any] | None:
    if not isinstance(content, dict):
        return None
    usage = sane_usage(form.usage_of(content))
    return content if usage is not None and not usage.denies_answer(has_text=form.has_text) else None


def _event(content: dict[str, Any], form: Format) -> Event:
    try:
        data = orjson.dumps(content)
    except (TypeError, RecursionError):  # half a surrogate pair, a huge number
        data = json.dumps(content, separators=(",", ":")).encode()
    name = b"event: %b\n" % str(content.get("type")).encode() if form.names_events else b""
    return Event(name + b"data: " + data + b"\n\n", data)
