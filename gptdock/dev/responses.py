"""The Responses API of the simulated OpenAI, stateless (https://platform.openai.com/docs/api-reference/responses)."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from gptdock.dev.asked import Asked, schema_asked, texts_besides, to_json, tool_asked
from gptdock.dev.composer import Answer
from gptdock.dev.journal import Record
from gptdock.dev.script import Script
from gptdock.dev.wire import Event, error_of, event

_ITEM_TOKENS = 3
_PROMPT_TOKENS = 3
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": False,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_SAME_FOR_ALL = {"background": False, "previous_response_id": None, "service_tier": "default", "top_logprobs": 0}
_FUNCTION = {"parameters": {}, "strict": True}
_CALLS = ("function_call", "custom_tool_call")


def read(body: Mapping[str, Any]) -> Asked | None:
    """The request in `body`; None if it is malformed."""
    items = body.get("input")
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list) or not items or not all(isinstance(each, dict) for each in items):
        return None
    given = [{"role": "developer", "content": body["instructions"]}] if body.get("instructions") else []
    form = (body.get("text") or {}).get("format") or {}
    since_question = takewhile(lambda item: item.get("role") != "user", reversed(items))
    return Asked(
        question=_flat(items[-1].get("content", items[-1].get("output"))),
        texts=tuple(
            [text for item in [*given, *items] for text in _texts(item)]
            + list(texts_besides(body.get("tools"), form if form.get("type") != "text" else None))
        ),
        other_tokens=_ITEM_TOKENS * len([*given, *items]) + _PROMPT_TOKENS,
        limit=body.get("max_output_tokens"),
        schema=schema_asked(form),
        tool=tool_asked(
            body,
            [str(item.get("name")) for item in since_question if item.get("type") in _CALLS],
            is_question=items[-1].get("role") == "user",
        ),
    )


def reply(script: Script, record: Record, answer: Answer) -> "Response":
    """This answer to the request of `record`."""
    usage = _usage(record.prompt_tokens, answer.size) if script.usage is True else script.usage
    return Response(record, answer, None if script.usage is False else usage, script)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. `usage` may be any JSON value."""

    record: Record
    answer: Answer
    usage: Any
    script: Script
    created_at: float = field(default_factory=lambda: float(int(time.time())))
    item_id: str = field(default_factory=lambda: secrets.token_hex(12))

    @property
    def before_usage(self) -> int:
        return self.before_end

    @property
    def before_end(self) -> int:
        return len(self.answer.tokens) + (5 if self.answer.tool else 7)

    def steps(self) -> Iterator[Event]:
        if self.answer.tool:
            yield Event(b"", tokens=self.answer.name_tokens)
        for _ in self.answer.tokens:
            yield Event(b"", tokens=1)

    def to_json(self) -> bytes:
        whole = self._failed(self.script.error, self.usage) if self.script.failed else self._ended()
        return json.dumps(whole, ensure_ascii=False).encode()

    def events(self) -> Iterator[Event]:
        """What begins, the item with each token, what is done, and the whole response with its usage."""
        for index, (name, fields, tokens) in enumerate(self._told()):
            usage = self.usage if index == self.before_end else None
            yield self._event(index, name, fields)._replace(tokens=tokens, usage=usage)

    def error_event(self, error: Any, *, index: int, generated: int) -> Event:
        if self.script.failed:
            usage = _usage(self.record.prompt_tokens, generated) if self.script.usage is True else self.usage
            failed = {"response": self._failed(error, usage)}
            return self._event(index, "response.failed", failed)._replace(usage=usage)
        # The reference has these fields at the top, but this is what comes: https://github.com/openai/openai-dotnet/issues/881
        return self._event(index, "error", {"error": error_of(500) | _error(error)})

    def _event(self, index: int, name: str, fields: Mapping[str, Any]) -> Event:
        data = to_json({"type": name, "sequence_number": index, **fields})
        return event(data, self.script.line_ending, name)

    def _told(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        """Name, fields and generated tokens of each event."""
        yield "response.created", {"response": self._response("in_progress")}, 0
        yield "response.in_progress", {"response": self._response("in_progress")}, 0
        item = {"output_index": 0, "item": self._item("in_progress", "")}
        yield "response.output_item.added", item, self.answer.name_tokens
        yield from self._call_told() if self.answer.tool else self._text_told()
        ended = self._ended()
        yield "response.output_item.done", item | {"item": ended["output"][0]}, 0
        yield f"response.{ended['status']}", {"response": ended}, 0

    def _text_told(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        at = {"item_id": f"msg_{self.item_id}", "output_index": 0, "content_index": 0}
        yield "response.content_part.added", at | {"part": _part("")}, 0
        for token in self.answer.tokens:
            yield "response.output_text.delta", at | {"delta": token, "logprobs": []}, 1
        yield "response.output_text.done", at | {"text": self.answer.text, "logprobs": []}, 0
        yield "response.content_part.done", at | {"part": _part(self.answer.text)}, 0

    def _call_told(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        item = self._item("in_progress", "")
        at, text = {"item_id": item["id"], "output_index": 0}, "input" if "input" in item else "arguments"
        name = "custom_tool_call_input" if text == "input" else "function_call_arguments"
        for token in self.answer.tokens:
            yield f"response.{name}.delta", at | {"delta": token}, 1
        yield f"response.{name}.done", at | {text: self.answer.text}, 0

    def _item(self, status: str, text: str) -> dict[str, Any]:
        tool = self.answer.tool
        if tool is None:
            content = [_part(text)] if status != "in_progress" else []
            head = {"id": f"msg_{self.item_id}", "type": "message", "status": status}
            return head | {"role": "assistant", "content": content}
        call = {"call_id": f"call_{self.item_id}", "name": tool.name}
        if tool.schema is None:
            return {"id": f"ctc_{self.item_id}", "type": "custom_tool_call", "input": text} | call
        return {"id": f"fc_{self.item_id}", "type": "function_call", "status": status, "arguments": text} | call

    @property
    def _end_status(self) -> str:
        return "incomplete" if self.answer.is_cut else "completed"

    def _ended(self) -> dict[str, Any]:
        reason = {"reason": "max_output_tokens"} if self.answer.is_cut else None
        output = [self._item(self._end_status, self.answer.text)]
        ended = {"output": output, "incomplete_details": reason, "usage": self.usage}
        return self._response(self._end_status) | ended

    def _failed(self, error: Any, usage: Any) -> dict[str, Any]:
        return self._response("failed") | {"error": _error(error), "usage": usage}

    def _response(self, status: str) -> dict[str, Any]:
        asked = self.record.request
        given = {name: usual if asked.get(name) is None else asked[name] for name, usual in _ECHOED.items()}
        head = {"id": self.record.id, "object": "response", "created_at": self.created_at, "status": status}
        return {
            **head,
            **_SAME_FOR_ALL,
            **given,
            "tools": [_FUNCTION | tool if tool.get("type") == "function" else tool for tool in given["tools"]],
            "model": self.record.model,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _error(error: Any) -> dict[str, Any]:
    given = {"code": "server_error", "message": error_of(500)["message"]}
    return given | (error if isinstance(error, dict) else {} if error is None else {"message": str(error)})


def _texts(item: Mapping[str, Any]) -> Iterator[str]:
    named = [item.get(name) for name in ("role", "name", "arguments", "input", "encrypted_content")]
    yield from (str(text) for text in named if text)
    yield from (text for name in ("content", "output", "summary") if (text := _flat(item.get(name))))


def _flat(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or part.get("refusal") or "") for part in content)
    return str(content or "")


def _usage(read: int, written: int) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }
