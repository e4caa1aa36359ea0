"""OpenAI's wire format: events, whole answers, errors (https://platform.openai.com/docs/api-reference/chat)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

_ORIGIN = {"service_tier": "default", "system_fingerprint": "fp_simulated"}

_ERRORS = {
    400: ("invalid_request_error", None, "We could not parse your request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "unknown_url", "Invalid URL."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
}
_OTHER_ERROR = ("server_error", None, "The server had an error while processing your request. Sorry about that!")


class Event(NamedTuple):
    """The bytes of one server-sent event, and the completion tokens and the usage in it."""

    data: bytes
    tokens: int = 0
    usage: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer, of which a script may send only a part. `usage` may be any JSON value."""

    id: str
    created: int
    model: str
    tokens: list[str]
    finish_reason: str
    usage: Any
    reports_usage: bool
    line_ending: str = "\n"

    def to_json(self) -> bytes:
        """The body of an answer that is not streamed, in UTF-8."""
        message = {"role": "assistant", "content": "".join(self.tokens), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return json.dumps(self._object("chat.completion", [choice], self.usage), ensure_ascii=False).encode()

    def events(self) -> Iterator[Event]:
        """The body of a streamed answer, event by event, `[DONE]` included."""
        yield self._delta({"role": "assistant", "content": "", "refusal": None})
        for token in self.tokens:
            yield self._delta({"content": token})._replace(tokens=1)
        yield self._delta({}, self.finish_reason)
        if self.reports_usage:
            yield self._chunk([], self.usage)._replace(usage=self.usage)
        yield _event("[DONE]", self.line_ending)

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk([choice], None)

    def _chunk(self, choices: list[Any], usage: Any) -> Event:
        chunk = self._object("chat.completion.chunk", choices, usage)
        return _event(json.dumps(chunk, ensure_ascii=False, separators=(",", ":")), self.line_ending)

    def _object(self, kind: str, choices: list[Any], usage: Any) -> dict[str, Any]:
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model, **_ORIGIN}
        return head | {"choices": choices} | ({"usage": usage} if self.reports_usage else {})


def error_body(status: int, error: Any = None) -> bytes:
    """The body of an answer with this error status; `error` defaults to what OpenAI would say."""
    return json.dumps({"error": _error(status) if error is None else error}).encode()


def error_event(error: Any, line_ending: str) -> Event:
    """An error as an event of a stream."""
    return _event(error_body(500, error).decode(), line_ending)


def _error(status: int) -> dict[str, Any]:
    kind, code, message = _ERRORS.get(status, _OTHER_ERROR)
    return {"message": message, "type": kind, "param": None, "code": code}


def _event(data: str, line_ending: str) -> Event:
    return Event(f"data: {data}{line_ending}{line_ending}".encode())
