"""Pure: the answers of `/v1/responses`: events with names, and whole responses.

A stream ends with `response.completed`, `response.incomplete` or `response.failed`, which has the usage; without one of
them it was cut. There is no [DONE]. Generated text is in the events `*.delta`, whatever it is of (text, refusal,
reasoning, its summary, arguments of a call), and the name of a call where it begins; events `*.done` repeat it.
"""

import json
from typing import Any

from gptdock.routes.chat_answers import error_of
from gptdock.routes.chat_texts import unknown_text_of, written
from gptdock.upstream.format import Again, Shape, Told
from gptdock.upstream.usage import sane_usage

_ENDS = ("response.completed", "response.incomplete", "response.failed")
_NAMES = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
_NAMES |= {f"{name}_details": f"{ours}_details" for name, ours in _NAMES.items()}
_TEXTS = ("text", "refusal", "name", "arguments", "input", "content", "summary")  # of an item, and of its parts
_REPEATED = ("text", "refusal", "arguments", "input")  # in an event `*.done`: one of them
_BESIDE_DELTA = frozenset({"type", "delta", "item_id", "output_index", "content_index", "summary_index"})
_BESIDE_DELTA |= {"sequence_number", "logprobs", "obfuscation"}
_WRITTEN = ("arguments", "input")
_OF_ARGUMENTS = ("arguments.delta", "input.delta")  # the end of an event's type
_LIKELY, _LIKELY_END = b'"logprobs":', b"}]}]"  # text does not have the first, as its quotes are escaped
_MOST_DEPTH = 4


class ResponsesFormat:
    """See `Format`."""

    path = "/responses"
    ends_by_done = False
    names_events = True
    has_text = True
    most_bytes = 16 * 2**20

    def text_of(self, content: dict[str, Any]) -> str:
        kind = content.get("type")
        if not isinstance(kind, str):
            return _text(content.get("output"))
        if kind.endswith(".delta"):
            name = "arguments" if kind.endswith(_OF_ARGUMENTS) else "delta"
            return _of_field(content.get("delta"), name, _MOST_DEPTH) or unknown_text_of(content, "")
        item = content.get("item")
        return _text(item.get("name")) if kind == "response.output_item.added" and isinstance(item, dict) else ""

    def lean(self, data: bytes) -> bytes:
        """Without likely tokens, which the last four events repeat: 4 MB of these take 70 ms to be parsed."""
        kept, at = [], 0
        while (start := data.find(_LIKELY, at)) >= 0 and (end := data.find(_LIKELY_END, start)) >= 0:
            if data.find(b'"text":', start, end) >= 0:  # what ends there is not what begins here
                break
            kept.append(data[at : start + len(_LIKELY)] + b"[")
            at = end + len(_LIKELY_END) - 1
        return b"".join([*kept, data[at:]])

    def told(self, event: dict[str, Any], text: str) -> Told:
        kind, error, usage = event.get("type"), error_of(event), self.usage_of(event)
        if error is not None:
            return Told(usage, error)
        if not isinstance(kind, str):
            return Told(usage, more=_more_of_whole(event))
        again = _again(kind, event)
        more = _more(event) if again is None else "" if event.keys() <= _BESIDE_DELTA else _beside_delta(kind, event)
        return Told(usage, None, kind in _ENDS, more, again, _thinks(kind, event))

    def usage_of(self, answer: dict[str, Any]) -> object:
        response = answer.get("response")
        if response is None:
            return _usage(answer)
        within = _usage(response) if isinstance(response, dict) else None
        return _usage(answer) if within is None or (sane_usage(within) is None and "usage" in answer) else within

    def is_shown(self, event: dict[str, Any]) -> bool:
        return True

    def shape(self, raw: bytes, text: str) -> Shape | None:
        return None  # each event has a number of its own

    def is_answer(self, content: dict[str, Any]) -> bool:
        return content.get("object") == "response" or isinstance(content.get("output"), list)

    def is_unfinished(self, answer: dict[str, Any]) -> bool:
        status = answer.get("status")
        return f"response.{status}" not in _ENDS if "status" in answer else "output" in answer

    def of_text(self, text: str) -> dict[str, Any]:
        return {"object": "response", "output": [{"type": "message", "content": [{"text": text}]}]}

    def to_events(self, answer: dict[str, Any], usage: object, *, is_whole: bool) -> list[dict[str, Any]]:
        if not is_whole:
            used = {"type": "response.in_progress", "sequence_number": 0, "response": {"usage": usage}}
            return [] if usage is None else [used]
        begun = answer | {"status": "in_progress", "output": [], "usage": None}
        end = f"response.{answer.get('status')}"
        return [
            {"type": "response.created", "sequence_number": 0, "response": begun},
            {"type": end if end in _ENDS else "response.completed", "sequence_number": 1, "response": answer},
        ]

    def next_number(self, event: dict[str, Any]) -> int:
        number = event.get("sequence_number")
        return number + 1 if type(number) is int else 0

    def error_event(self, error: dict[str, Any], number: int) -> bytes:
        """The API's own error event, and within it `error`, without which OpenAI's packages raise nothing."""
        told = {name: error["error"][name] for name in ("code", "message", "param")}
        event = {"type": "error", **told, "sequence_number": number, **error}
        return b"event: error\ndata: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


def _usage(answer: dict[str, Any]) -> object:
    usage = answer.get("usage")
    return {_NAMES.get(name, name): value for name, value in usage.items()} if isinstance(usage, dict) else usage


def _again(kind: str, event: dict[str, Any]) -> Again | None:
    """What an event of a known kind repeats, which may be nothing."""
    if kind.endswith(".delta"):
        return Again(kind.removesuffix(".delta"))
    stem, _, last = kind.rpartition(".")
    if isinstance(response := event.get("response"), dict):
        return Again("", _any_text(response.get("output")), of_all=True)
    if last == "added":
        return Again(kind)
    if last != "done":
        return None
    if isinstance(whole := event.get("item", event.get("part")), dict):
        return Again(stem, _any_text(whole), of_all=True)
    told = (_of_field(event.get(name), name, _MOST_DEPTH) for name in _REPEATED)
    return Again(stem, next(filter(None, told), "") or _more(event))


def _thinks(kind: str, event: dict[str, Any]) -> bool:
    """Whether an event tells of thoughts that are hidden: an item of them begins, is summed up, or may come next."""
    if kind == "response.output_item.added":
        item = event.get("item")
        return isinstance(item, dict) and item.get("type") == "reasoning"
    return kind == "response.output_item.done" or kind.startswith("response.reasoning_summary")


def _beside_delta(kind: str, event: dict[str, Any]) -> str:
    """What may be text beside that of a delta, in fields that are not known."""
    if not kind.endswith(".delta") or not _text(event.get("delta")):
        return ""
    return _more({name: value for name, value in event.items() if name not in _BESIDE_DELTA})


def _more_of_whole(answer: dict[str, Any]) -> str:
    """What may be text in a whole response without known text, or in an object of an unknown kind."""
    if not isinstance(output := answer.get("output"), list):
        response = answer.get("response")
        return _any_text(response.get("output")) if isinstance(response, dict) else _more(answer)
    return "" if _text(output) else _more({"output": output, "output_text": answer.get("output_text")})


def _more(value: object) -> str:
    return unknown_text_of(value, "")


def _any_text(output: object) -> str:
    return _text(output) or _more(output)


def _text(value: object, depth: int = _MOST_DEPTH) -> str:
    """All generated text in a delta, or in the items of a whole response."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and depth:
        return "".join([_text(each, depth - 1) for each in value])
    if isinstance(value, dict) and depth:
        return "".join([_of_field(value.get(name), name, depth - 1) for name in _TEXTS])
    return ""


def _of_field(value: object, name: str, depth: int) -> str:
    return written(value) if name in _WRITTEN else _text(value, depth)


FORMAT = ResponsesFormat()
