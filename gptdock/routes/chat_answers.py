"""Pure: the answers of `/v1/chat/completions`, also to the questions of `/v1/ask`: chunks and whole completions.

A stream ends with [DONE]. Its usage is in a chunk of its own, without choices, before that.
"""

import json
from typing import Any

from gptdock.routes import chat_texts
from gptdock.upstream.format import Told
from gptdock.upstream.meter import Shape

_CONTENT = b'"content":"'
_NO_ERROR: tuple[object, ...] = (None, "", False, 0, [])  # what upstreams put where an error would be


class ChatFormat:
    """See `Format`."""

    path = "/chat/completions"
    ends_by_done = True
    names_events = False
    has_text = True
    most_bytes = 16 * 2**20

    def text_of(self, content: dict[str, Any]) -> str:
        return chat_texts.text_of(content)

    def told(self, event: dict[str, Any]) -> Told:
        return Told(event.get("usage"), error_of(event))

    def usage_of(self, answer: dict[str, Any]) -> object:
        return answer.get("usage")

    def is_shown(self, event: dict[str, Any]) -> bool:
        return bool(event.get("choices")) or event.get("usage") is None

    def shape(self, data: bytes, event: dict[str, Any], text: str) -> Shape | None:
        """That of an event that has one choice with plain content, and nothing else to tell."""
        if event.get("usage") is not None or event.get("error") is not None:
            return None
        return Shape.of(data, _CONTENT, text) if _has_only_content(event["choices"], text) else None

    def is_answer(self, content: dict[str, Any]) -> bool:
        return "choices" in content

    def of_text(self, text: str) -> dict[str, Any]:
        return {"choices": [{"text": text}]}

    def to_events(self, answer: dict[str, Any], usage: object, *, is_whole: bool) -> list[dict[str, Any]]:
        content = answer | {"object": "chat.completion.chunk"}
        reported = [content | {"choices": [], "usage": usage}] if usage is not None else []
        if not is_whole:
            return reported
        return [content | {"choices": _deltas(content.get("choices")), "usage": None}, *reported]

    def error_event(self, error: dict[str, Any], last: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps(error, separators=(",", ":")).encode() + b"\n\n"


def error_of(event: dict[str, Any]) -> dict[str, Any] | None:
    """The error that an event tells. Some upstreams send it as the event itself, or as a text."""
    error = event.get("error")
    if error not in _NO_ERROR and (error != {} or not event.get("choices")):
        return error if isinstance(error, dict) else {"message": str(error)}
    return event if "error" in (event.get("object"), event.get("type")) else None


def _has_only_content(choices: object, text: str) -> bool:
    match choices:
        case [{"delta": delta, **rest}]:
            return bool(delta == {"content": text} and "message" not in rest)
    return False


def _deltas(choices: object) -> object:
    if not isinstance(choices, list):
        return choices
    return [_delta(choice) if isinstance(choice, dict) else choice for choice in choices]


def _delta(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice with a `delta` for its `message`. In a stream each call has an `index`."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return choice
    calls = message.get("tool_calls")
    if isinstance(calls, list) and all(isinstance(call, dict) for call in calls):
        message = message | {"tool_calls": [{"index": index} | call for index, call in enumerate(calls)]}
    return {name: value for name, value in choice.items() if name != "message"} | {"delta": message}


FORMAT = ChatFormat()
