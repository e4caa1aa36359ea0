"""Answers in the form that was not asked for: whole in place of a stream, or a stream in place of a whole one."""

import json
from typing import Any

from gptdock.dev.script import Script

WORD = " simulated"  # a token


def whole_answer(route: str, tokens: int, *, streamed: bool) -> Script:
    """An answer of so many tokens, as a stream or not, that reports no usage."""
    text = WORD * tokens
    if route == "embeddings":
        return Script(raw=_event({"data": [], "object": "list"}), tokens=0)
    form = _RESPONSES if route == "responses" else _CHAT
    return Script(raw=form[streamed](text), tokens=tokens)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _chat_whole(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def _chat_stream(text: str) -> bytes:
    delta = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return _event({"id": "c", "choices": [delta]}) + b"data: [DONE]\n\n"


def _response(text: str) -> dict[str, Any]:
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return {"id": "r", "object": "response", "status": "completed", "output": [message]}


def _responses_whole(text: str) -> bytes:
    return json.dumps(_response(text)).encode()


def _responses_stream(text: str) -> bytes:
    delta = {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": text}
    return _event(delta) + _event({"type": "response.completed", "response": _response(text)})


_CHAT = {False: _chat_whole, True: _chat_stream}
_RESPONSES = {False: _responses_whole, True: _responses_stream}
