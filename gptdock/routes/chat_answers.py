"""Pure: the answers of `/v1/chat/completions`, also to the questions of `/v1/ask`: chunks and whole completions.

A stream ends with [DONE]. Its usage is in a chunk of its own, without choices, before that.
"""

import json
from typing import Any

from gptdock.routes import chat_texts
from gptdock.upstream import complaints
from gptdock.upstream.format import Told
from gptdock.upstream.loose_json import as_object, parse
from gptdock.upstream.shapes import Shape
from gptdock.upstream.usage import sane_usage

_CONTENT = b'"content":"'


class ChatFormat:
    """See `Format`."""

    path = "/chat/completions"
    ends_by_done = True
    names_events = False
    has_text = True
    most_bytes = 16 * 2**20

    def text_of(self, content: dict[str, Any]) -> str:
        return chat_texts.text_of(content)

    def lean(self, data: bytes) -> bytes:
        return data

    def told(self, event: dict[str, Any], text: str) -> Told:
        if chat_texts.is_usual(event) and event.get("object") != "error":  # as most: a fifth of the time
            return Told(event.get("usage"))
        error = error_of(event)
        more = chat_texts.unknown_text_of(event, text) if error is None else ""
        return Told(reported(event), error, more=more, thinks=chat_texts.sums_up(event))

    def usage_of(self, answer: dict[str, Any]) -> object:
        return reported(answer)

    def is_shown(self, event: dict[str, Any]) -> bool:
        return bool(event.get("choices")) or event.get("usage") is None

    def shape(self, raw: bytes, text: str) -> Shape | None:
        """That of an event that has one choice with plain content, and nothing else to tell."""
        shape = Shape.of(raw, _CONTENT, text)
        return shape if shape and _holds(shape) else None

    def is_answer(self, content: dict[str, Any]) -> bool:
        return "choices" in content and (error_of(content) is None or bool(self.text_of(content)))

    def is_unfinished(self, answer: dict[str, Any]) -> bool:
        return False

    def of_text(self, text: str) -> dict[str, Any]:
        return {"choices": [{"text": text}]}

    def to_events(self, answer: dict[str, Any], usage: object, *, is_whole: bool) -> list[dict[str, Any]]:
        content = answer | {"object": "chat.completion.chunk"}
        reported = [content | {"choices": [], "usage": usage}] if usage is not None else []
        if not is_whole:
            return reported
        return [content | {"choices": _deltas(content.get("choices")), "usage": None}, *reported]

    def next_number(self, event: dict[str, Any]) -> int:
        return 0

    def error_event(self, error: dict[str, Any], number: int) -> bytes:
        return b"data: " + json.dumps(error, separators=(",", ":")).encode() + b"\n\n"


def error_of(event: dict[str, Any]) -> dict[str, Any] | None:
    """The error that an event tells. Some upstreams send it as the event itself, or as a text."""
    return complaints.find(event)


def reported(answer: dict[str, Any]) -> object:
    """What a chunk or an answer reports as usage, in any of the places where upstreams do; None if it does not.

    OpenAI reports it for the whole, Moonshot for a choice, Groq within `x_groq`.
    """
    usage, choices, groq = answer.get("usage"), answer.get("choices"), answer.get("x_groq")
    parts = [*(choices if isinstance(choices, list) else ()), groq]
    elsewhere = [part["usage"] for part in parts if isinstance(part, dict) and part.get("usage") is not None]
    if not elsewhere or sane_usage(usage) is not None:
        return usage
    return next((each for each in elsewhere if sane_usage(each) is not None), usage)


def _holds(shape: Shape) -> bool:
    """Whether another text in this place is the text, and padding is none: keys may be escaped, or stand elsewhere."""
    try:
        event = as_object(parse(shape.with_text(b"text", b"padding").partition(b"data: ")[2]))
    except ValueError:
        return False
    return event is not None and _has_only_content(event)


def _has_only_content(event: dict[str, Any]) -> bool:
    match event.get("choices"):
        case [{"delta": {"content": "text", **others}, **rest}] if not others:
            return chat_texts.is_usual(event) or not chat_texts.unknown_text_of(event | {"choices": [rest]}, "")
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
