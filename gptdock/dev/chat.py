"""Chat completions of the simulated OpenAI (https://platform.openai.com/docs/api-reference/chat)."""

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
from gptdock.dev.wire import Event, error_body, event

_ORIGIN = {"service_tier": "default", "system_fingerprint": "fp_simulated"}
# Per message, and of the whole prompt: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
_MESSAGE_TOKENS = 3
_PROMPT_TOKENS = 3


def read(body: Mapping[str, Any]) -> Asked | None:
    """The request in `body`; None if it is malformed."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        return None
    form = body.get("response_format") or {}
    return Asked(
        question=_text(messages[-1]),
        texts=tuple(
            [text for message in messages for text in (str(message.get("role", "")), _text(message), *_calls(message))]
            + list(texts_besides(body.get("tools"), form))
        ),
        other_tokens=_MESSAGE_TOKENS * len(messages) + _PROMPT_TOKENS,
        limit=body.get("max_completion_tokens") or body.get("max_tokens"),
        schema=schema_asked(form),
        tool=tool_asked(body, _called(messages), is_question=messages[-1].get("role") == "user"),
    )


def reply(script: Script, record: Record, answer: Answer) -> "Completion":
    """This answer to the request of `record`."""
    reports_usage = script.usage is not False and _wants_usage(record.request)
    usage = _usage(record.prompt_tokens, answer.size) if script.usage is True else script.usage
    return Completion(
        id=record.id,
        model=record.model,
        answer=answer,
        usage=usage if reports_usage else None,
        reports_usage=reports_usage,
        line_ending=script.line_ending,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer. `usage` may be any JSON value."""

    id: str
    model: str
    answer: Answer
    usage: Any
    reports_usage: bool
    line_ending: str = "\n"
    created: int = field(default_factory=lambda: int(time.time()))
    call_id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}")

    @property
    def before_usage(self) -> int:
        return len(self.answer.tokens) + 2

    @property
    def before_end(self) -> int:
        return self.before_usage + self.reports_usage

    def steps(self) -> Iterator[Event]:
        if self.answer.tool:
            yield Event(b"", tokens=self.answer.name_tokens)
        for _ in self.answer.tokens:
            yield Event(b"", tokens=1)

    def to_json(self) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": self.answer.text, "refusal": None}
        if self.answer.tool:
            message |= {"content": None, "tool_calls": [self._call_head() | self._call(self.answer.text, whole=True)]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish_reason}
        return json.dumps(self._object("chat.completion", [choice], self.usage), ensure_ascii=False).encode()

    def events(self) -> Iterator[Event]:
        """Role, or role and name of the call; each token; finish; usage if it is asked for; `[DONE]`."""
        yield self._first()
        for token in self.answer.tokens:
            piece = {"tool_calls": [{"index": 0} | self._call(token)]} if self.answer.tool else {"content": token}
            yield self._delta(piece)._replace(tokens=1)
        yield self._delta({}, self._finish_reason)
        if self.reports_usage:
            yield self._chunk([], self.usage)._replace(usage=self.usage)
        yield event("[DONE]", self.line_ending)

    def error_event(self, error: Any, *, index: int, generated: int) -> Event:
        return event(error_body(500, error).decode(), self.line_ending)

    @property
    def _finish_reason(self) -> str:
        if self.answer.is_cut:
            return "length"
        return "tool_calls" if self.answer.tool else "stop"

    def _first(self) -> Event:
        delta: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
        if self.answer.tool:
            delta |= {"content": None, "tool_calls": [{"index": 0} | self._call_head() | self._call("", whole=True)]}
        return self._delta(delta)._replace(tokens=self.answer.name_tokens)

    def _call_head(self) -> dict[str, Any]:
        return {"id": self.call_id, "type": self._call_type}

    def _call(self, text: str, *, whole: bool = False) -> dict[str, Any]:
        name = {"name": self.answer.tool.name} if whole and self.answer.tool else {}
        return {self._call_type: name | {"arguments" if self._call_type == "function" else "input": text}}

    @property
    def _call_type(self) -> str:
        return "custom" if self.answer.tool and self.answer.tool.schema is None else "function"

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk([choice], None)

    def _chunk(self, choices: list[Any], usage: Any) -> Event:
        return event(to_json(self._object("chat.completion.chunk", choices, usage)), self.line_ending)

    def _object(self, kind: str, choices: list[Any], usage: Any) -> dict[str, Any]:
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model, **_ORIGIN}
        return head | {"choices": choices} | ({"usage": usage} if self.reports_usage else {})


def _wants_usage(request: Mapping[str, Any]) -> bool:
    options = request.get("stream_options") or {}
    return not request.get("stream") or options.get("include_usage") is True


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _calls(message: Mapping[str, Any]) -> Iterator[str]:
    for call in message.get("tool_calls") or ():
        fields = call.get(call.get("type")) or {}
        yield f"{fields.get('name')}{fields.get('arguments', fields.get('input'))}"


def _called(messages: list[Any]) -> list[str]:
    """The names of the tools that were called since the last question."""
    since = takewhile(lambda message: message.get("role") != "user", reversed(messages))
    calls = [call for message in since for call in message.get("tool_calls") or ()]
    return [str((call.get(call.get("type")) or {}).get("name")) for call in calls]


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    details = ("reasoning_tokens", "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": dict.fromkeys(details, 0),
    }
