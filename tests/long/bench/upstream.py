"""A simulated OpenAI that costs next to nothing: each answer is made beforehand, but for when it is sent.

The question says how it wants to be answered, as `pace` writes it, so that there is nothing to configure. An event is
a chunk of HTTP and a write of its own, as OpenAI sends it; role and first token come together.
"""

import asyncio
import functools
import json
import re
from typing import Any, NamedTuple

from tests.long.bench.wire import Requests, answer

PROMPT_TOKENS = 60  # that every answer says it read
_STREAM = re.compile(rb'"stream": ?true')
_PACE = re.compile(rb"\((\d+) tokens, the first after (\d+) ms, then one in ([\d.]+) ms\)")
_HEADERS = (
    b"openai-organization: org-bench\r\nopenai-processing-ms: 251\r\nopenai-version: 2020-10-01\r\n"
    b"x-request-id: req_00000000000000000000000000000001\r\n"
    b"x-ratelimit-limit-requests: 10000\r\nx-ratelimit-limit-tokens: 2000000\r\n"
    b"x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-remaining-tokens: 1999950\r\n"
    b"x-ratelimit-reset-requests: 6ms\r\nx-ratelimit-reset-tokens: 1ms\r\n"
    b"strict-transport-security: max-age=31536000; includeSubDomains; preload\r\ncf-cache-status: DYNAMIC\r\n"
    b"X-Content-Type-Options: nosniff\r\nServer: cloudflare\r\nConnection: keep-alive\r\n"
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n%b\r\n"
    % _HEADERS
)
_TEXT = (
    'the stream of tokens is relayed chunk by chunk. A client with "quota" pays for what it used, naïve 日本 or 🙂\n'
)
_WORDS = [" " + word for word in _TEXT.split(" ")]
_COMMON = {"id": "chatcmpl-Bench000000000000001", "created": 1_795_400_000, "model": "gpt-4o-mini-2024-07-18"}
_COMMON |= {"service_tier": "default", "system_fingerprint": "fp_0392822090"}


class Pace(NamedTuple):
    """How a question wants to be answered."""

    tokens: int
    first_ms: int = 0
    gap_ms: float = 0

    def __str__(self) -> str:
        return f"({self.tokens} tokens, the first after {self.first_ms} ms, then one in {self.gap_ms:g} ms)"

    @classmethod
    def asked(cls, body: bytes) -> "Pace":
        """What is asked for somewhere in a body."""
        found = _PACE.search(body)
        assert found, body
        return cls(int(found[1]), int(found[2]), float(found[3]))


class Completions(Requests):
    """One connection of the server under test."""

    def respond(self, head: bytes, body: bytes) -> None:
        """Begin to answer."""
        if not _STREAM.search(body):
            self.transport.write(_whole(Pace.asked(body).tokens))
            return
        self._pace, self._sent = Pace.asked(body), 0
        self._loop = asyncio.get_running_loop()
        self._first_at = self._loop.time() + self._pace.first_ms / 1000
        self.transport.write(_STREAM_HEAD)
        self._loop.call_at(self._first_at, self._send)

    def _send(self) -> None:
        if self.transport.is_closing():
            return
        if self._sent == self._pace.tokens:
            self.transport.write(_end(self._sent))
            return
        self.transport.write(_TOKENS[self._sent % len(_TOKENS)] if self._sent else _ROLE + _TOKENS[0])
        self._sent += 1
        self._loop.call_at(self._first_at + self._sent * self._pace.gap_ms / 1000, self._send)


def _event(data: bytes) -> bytes:
    return b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data)


def _chunk(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
    return _event(_dump({**_COMMON, "object": "chat.completion.chunk", "choices": choices, "usage": usage}))


def _delta(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    return _chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])


def _dump(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _usage(tokens: int) -> dict[str, Any]:
    details = {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0}
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": PROMPT_TOKENS + tokens}
    return {**usage, "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": details}


_ROLE = _delta({"role": "assistant", "content": "", "refusal": None})
_TOKENS = [_delta({"content": word}) for word in _WORDS]


@functools.cache
def _end(tokens: int) -> bytes:
    """What follows the last token."""
    return _delta({}, "stop") + _chunk([], _usage(tokens)) + _event(b"[DONE]") + b"0\r\n\r\n"


@functools.cache
def _whole(tokens: int) -> bytes:
    text = "".join(_WORDS[number % len(_WORDS)] for number in range(tokens))
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    content = {**_COMMON, "object": "chat.completion", "choices": [choice], "usage": _usage(tokens)}
    return answer(
        b"200 OK",
        json.dumps(content, ensure_ascii=False, indent=2).encode(),
        b"Content-Type: application/json\r\n" + _HEADERS,
    )
