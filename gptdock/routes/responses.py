"""Pure: the body of `/v1/responses`: what it costs at most, and the request to the upstream.

It is served without a state: whatever the model reads is in the request, or the request is refused. Everything else is
as for chat completions: the body is passed on unchanged, except for the model, which must be one that is served, and
the limit of the answer. `responses_fields` has all fields, `responses_input` the items of the input.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gptdock.accounts import user_in
from gptdock.errors import InvalidRequest
from gptdock.prompt import images
from gptdock.prompt.ask import MESSAGE_TOKENS, PROMPT_TOKENS
from gptdock.prompt.strict_json import parse_object
from gptdock.routes import fields as metered
from gptdock.routes import requests
from gptdock.routes.requests import Cost, optional, to_json, write_object
from gptdock.routes.responses_fields import FIELDS
from gptdock.routes.responses_input import Read

OURS = ("model", "stream", "max_output_tokens")
STREAMED_BYTES = 110  # for each likely token in an event, as requests.LIKELY_BYTES
LIKELY = "message.output_text.logprobs"
READ_BY_THE_MODEL = metered.counted(FIELDS, "input", "instructions")


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """The body of `/v1/responses`, checked as far as its cost depends on it."""

    prompt: ClassVar[str] = "input"
    operation: ClassVar[str] = "chat"
    show_usage: ClassVar[bool] = True  # it is in the last event, and that is passed on
    model: str
    user_id: str | None
    stream: bool
    most_tokens: int | None
    passed: str  # all but what is ours, as JSON
    read: Read
    besides: str  # what else the model reads, as JSON
    tools_tokens: int  # besides their JSON
    likely: int  # tokens that an answer tells for each of its own

    @classmethod
    def from_json(cls, body: bytes, models: Collection[str], passed: Collection[str] = ()) -> Self:
        """The request in `body`; the fields `passed` are not looked at, only counted.

        Raises InvalidRequest, whose `param` names the first field that is wrong, or ModelNotFound.
        """
        fields = parse_object(body)
        metered.check(fields, FIELDS, passed)
        metered.check_tools(fields, passed)
        _check_objects(fields, passed)
        written = {name: to_json(value) for name, value in fields.items() if name not in OURS}
        counted = [name for name in dict.fromkeys((*READ_BY_THE_MODEL, *passed)) if fields.get(name) is not None]
        return cls(
            model=requests.model(fields.get("model"), models),
            user_id=user_in(fields),
            stream=optional(fields, "stream", bool) or False,
            most_tokens=requests.tokens(fields, "max_output_tokens"),
            passed=requests.utf8(write_object(written, written)),
            read=_read(fields),
            besides=write_object(written, counted) if counted else "",
            tools_tokens=requests.count_tools(fields),
            likely=_likely(fields),
        )

    def cost(self, count: Callable[[str], int]) -> Cost:
        """What the prompt costs at most; `count` counts the tokens of a text."""
        text = PROMPT_TOKENS + self.read.items * MESSAGE_TOKENS + sum(map(count, self.read.texts))
        text += sum(requests.count_strings(written, count) for written in self.read.others)
        pictures = sum(images.most_tokens(self.model, detail) for detail in self.read.images)
        others = pictures + self.read.encrypted_bytes
        text += requests.count_json(self.besides, count) + self.tools_tokens
        return Cost(text, others, self.read.recalled)

    def answer_bytes(self, completion_tokens: int) -> int:
        """The most bytes of an answer with likely tokens. The last events of a stream have all of them."""
        return completion_tokens * self.likely * (STREAMED_BYTES if self.stream else requests.LIKELY_BYTES)

    def upstream_body(self, completion_tokens: int) -> bytes:
        """The request to the upstream, for an answer of at most `completion_tokens`."""
        ours = {"model": self.model, "stream": self.stream, "max_output_tokens": completion_tokens}
        return f"{self.passed[:-1]},{to_json(ours)[1:]}".encode()


def _read(fields: Mapping[str, Any]) -> Read:
    read = Read()
    read.read(fields.get("input"))
    if instructions := optional(fields, "instructions", str):
        read.items += 1
        read.texts.append(instructions)
    return read


def _likely(fields: Mapping[str, Any]) -> int:
    include = fields.get("include")
    return requests.count_likely(fields) if isinstance(include, list) and LIKELY in include else 0


def _check_objects(fields: Mapping[str, Any], passed: Collection[str]) -> None:
    """Other modes may think several times at once."""
    optional(fields, "text", dict)
    reasoning = None if "reasoning" in passed else optional(fields, "reasoning", dict)
    if (reasoning or {}).get("mode") not in (None, "standard"):
        raise InvalidRequest("reasoning.mode must be standard.", param="reasoning.mode")
