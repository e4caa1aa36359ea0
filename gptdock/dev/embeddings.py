"""Embeddings of the simulated OpenAI (https://platform.openai.com/docs/api-reference/embeddings): vectors by chance.

The same text has the same vector, of length 1; texts that mean the same do not.
"""

import base64
import json
import math
import random
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gptdock.dev.asked import Asked
from gptdock.dev.composer import Answer
from gptdock.dev.journal import Record
from gptdock.dev.script import Script
from gptdock.dev.wire import Event, error_body, event

_MOST_TEXTS = 2048
_DIMENSIONS = {"text-embedding-3-large": 3072}
_USUAL_DIMENSIONS = 1536


def read(body: Mapping[str, Any]) -> Asked | None:
    """The request in `body`; None if it is malformed."""
    inputs = _inputs(body.get("input"))
    if not 1 <= len(inputs) <= _MOST_TEXTS or not all(isinstance(each, str | list) and each for each in inputs):
        return None
    texts = tuple(each for each in inputs if isinstance(each, str))
    return Asked(texts=texts, other_tokens=sum(len(each) for each in inputs if isinstance(each, list)))


def reply(script: Script, record: Record, _: Answer) -> "Embeddings":
    """The vectors for the request of `record`."""
    usage = {"prompt_tokens": record.prompt_tokens, "total_tokens": record.prompt_tokens}
    return Embeddings(record, usage if script.usage is True else None if script.usage is False else script.usage)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A whole answer; there are no others. `usage` may be any JSON value."""

    record: Record
    usage: Any
    before_usage: int = 0
    before_end: int = 0

    def steps(self) -> Iterator[Event]:
        for _ in _inputs(self.record.request["input"]):
            yield Event(b"", embedded=1)

    def to_json(self) -> bytes:
        inputs = _inputs(self.record.request["input"])
        data = [{"object": "embedding", "index": at, "embedding": self._vector(each)} for at, each in enumerate(inputs)]
        whole = {"object": "list", "data": data, "model": self.record.model}
        return json.dumps(whole if self.usage is None else whole | {"usage": self.usage}).encode()

    def events(self) -> Iterator[Event]:
        yield event(self.to_json().decode(), "\n")

    def error_event(self, error: Any, *, index: int, generated: int) -> Event:
        return event(error_body(500, error).decode(), "\n")

    def _vector(self, text: Any) -> str | list[float]:
        asked = self.record.request
        count = asked.get("dimensions") or _DIMENSIONS.get(self.record.model, _USUAL_DIMENSIONS)
        chance = random.Random(json.dumps(text))
        numbers = [chance.gauss(0, 1) for _ in range(count)]
        length = math.hypot(*numbers)
        vector = array("f", [number / length for number in numbers])
        return base64.b64encode(vector.tobytes()).decode() if asked.get("encoding_format") == "base64" else list(vector)


def _inputs(given: Any) -> list[Any]:
    """Each text, or its token ids."""
    if isinstance(given, list):
        return [given] if given and type(given[0]) is int else given
    return [given]
