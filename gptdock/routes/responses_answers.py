"""Pure: the answers of `/v1/responses`: events with names, and whole responses.

A stream ends with `response.completed`, `response.incomplete` or `response.failed`, which has the usage; without one of
them it was cut. There is no [DONE]. Generated text is in the events `*.delta`, whatever it is of (text, refusal,
reasoning, its summary, arguments of a call), and the name of a call where it begins; events `*.done` repeat it.
"""

import json
from typing import Any

from gptdock.routes.chat_answers import error_of
from gptdock.upstream.format import Shape, Told

_ENDS = ("response.completed", "response.incomplete", "response.failed")
_NAMES = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
_NAMES |= {f"{name}_details": f"{ours}_details" for name, ours in _NAMES.items()}
_TEXTS = ("text", "refusal", "name", "arguments", "input", "content", "summary")  # of an item, and of its parts
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
            return _text(content.get("delta"))
        item = content.get("item")
        return _text(item.get("name")) if kind == "response.output_item.added" and isinstance(item, dict) else ""

    def told(self, event: dict[str, Any]) -> Told:
        response = event.get("response")
        usage = self.usage_of(response) if isinstance(response, dict) else None
        return Told(usage, error_of(event), ends=event.get("type") in _ENDS)

    def usage_of(self, answer: dict[str, Any]) -> object:
        usage = answer.get("usage")
        return {_NAMES.get(name, name): value for name, value in usage.items()} if isinstance(usage, dict) else usage

    def is_shown(self, event: dict[str, Any]) -> bool:
        return True

    def shape(self, data: bytes, event: dict[str, Any], text: str) -> Shape | None:
        return None  # each event has a number of its own

    def is_answer(self, content: dict[str, Any]) -> bool:
        return content.get("object") == "response" or isinstance(content.get("output"), list)

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

    def error_event(self, error: dict[str, Any], last: dict[str, Any]) -> bytes:
        """The API's own error event, and within it `error`, without which OpenAI's packages raise nothing."""
        told = {name: error["error"][name] for name in ("code", "message", "param")}
        event = {"type": "error", **told, "sequence_number": _next_number(last), **error}
        return b"event: error\ndata: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


def _next_number(last: dict[str, Any]) -> int:
    number = last.get("sequence_number")
    return number + 1 if type(number) is int else 0


def _text(value: object, depth: int = _MOST_DEPTH) -> str:
    """All generated text in a delta, or in the items of a whole response."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and depth:
        return "".join([_text(each, depth - 1) for each in value])
    if isinstance(value, dict) and depth:
        return "".join([_text(value.get(name), depth - 1) for name in _TEXTS])
    return ""


FORMAT = ResponsesFormat()
