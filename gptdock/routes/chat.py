"""Pure: the body of `/v1/chat/completions`: what it costs at most, and the request to the upstream.

The caller's body is passed on unchanged, except for what decides its cost: the model must be one that is served, the
answer is limited to what the hold can pay for, and the upstream is asked for its usage. A request whose cost cannot be
bounded in advance is refused: by its fields (`chat_fields`), hosted tools, messages of more than text and images.

The limit of the answer has two names. OpenAI's newer models know only the newer one, which services that are only
compatible may not know, so those get what the caller wrote. Beside a `prediction` OpenAI takes the older one alone.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from gptdock.accounts import user_in
from gptdock.errors import InvalidRequest
from gptdock.prompt import images
from gptdock.prompt.ask import MESSAGE_TOKENS, MOST_MESSAGES, PROMPT_TOKENS
from gptdock.prompt.strict_json import parse_object
from gptdock.routes import fields as metered
from gptdock.routes import requests
from gptdock.routes.chat_fields import FIELDS
from gptdock.routes.requests import Cost, optional, to_json, write_object

OURS = ("model", "stream", "stream_options", "max_tokens", "max_completion_tokens")
READ_BY_THE_MODEL = metered.counted(FIELDS, "messages")
_WANTS_NEW_NAME = re.compile(r"(?:ft:|.*/)?(?:o[1-9]|gpt-[5-9])(?![0-9])")
LimitName = Literal["max_tokens", "max_completion_tokens"]


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """The body of `/v1/chat/completions`, checked as far as its cost depends on it."""

    prompt: ClassVar[str] = "messages"
    operation: ClassVar[str] = "chat"
    model: str
    user_id: str | None
    stream: bool
    show_usage: bool
    most_tokens: int | None
    limit_name: LimitName
    stream_options: Mapping[str, Any]
    passed: str  # the rest of the body, as JSON
    messages: int
    images: tuple[Any, ...]  # the detail of each
    texts: tuple[str, ...]  # of the messages
    others: tuple[str, ...]  # what they have besides, as JSON
    besides: str  # what else the model reads, as JSON
    tools_tokens: int  # besides their JSON
    likely: int  # tokens that a whole answer tells for each of its own

    @classmethod
    def from_json(cls, body: bytes, models: Collection[str], passed: Collection[str] = ()) -> Self:
        """The request in `body`; the fields `passed` are not looked at, only counted.

        Raises InvalidRequest, whose `param` names the first field that is wrong, or ModelNotFound.
        """
        fields = _metered(parse_object(body), passed)
        messages = _messages(fields.get("messages"))
        limit_name, most_tokens = _limit(fields)
        options = optional(fields, "stream_options", dict) or {}
        names = [name for name in fields if name not in OURS]
        written = {name: to_json(fields[name]) for name in names}  # once: 256 KB take 15 ms
        return cls(
            model=requests.model(fields.get("model"), models),
            user_id=user_in(fields),
            stream=optional(fields, "stream", bool) or False,
            show_usage=options.get("include_usage") is True,
            most_tokens=most_tokens,
            limit_name=limit_name,
            stream_options=options,
            passed=requests.utf8(write_object(written, written)),
            messages=len(messages),
            images=tuple(detail for message in messages for detail in _images(message)),
            texts=tuple(text for message in messages for text in _texts(message)),
            others=tuple(written for message in messages for written in _others(message)),
            besides=_read_besides(fields, written, passed),
            tools_tokens=requests.count_tools(fields),
            likely=requests.count_likely(fields) if fields.get("logprobs") else 0,
        )

    def cost(self, count: Callable[[str], int]) -> Cost:
        """What the prompt costs at most; `count` counts the tokens of a text."""
        text = PROMPT_TOKENS + self.messages * MESSAGE_TOKENS + sum(map(count, self.texts))
        text += sum(requests.count_strings(written, count) for written in self.others)
        pictures = sum(images.most_tokens(self.model, detail) for detail in self.images)
        return Cost(text + requests.count_json(self.besides, count) + self.tools_tokens, pictures)

    def answer_bytes(self, completion_tokens: int) -> int:
        """The most bytes of a whole answer with likely tokens. Events of a stream have those of a few tokens."""
        return 0 if self.stream else completion_tokens * self.likely * requests.LIKELY_BYTES

    def upstream_body(self, completion_tokens: int) -> bytes:
        """The request to the upstream, for an answer of at most `completion_tokens`."""
        ours: dict[str, Any] = {"model": self.model, self.limit_name: completion_tokens, "stream": self.stream}
        if self.stream:
            ours["stream_options"] = {**self.stream_options, "include_usage": True}
        elif self.stream_options:
            ours["stream_options"] = self.stream_options
        return f"{self.passed[:-1]},{to_json(ours)[1:]}".encode()


def count_besides(fields: Mapping[str, Any], count: Callable[[str], int]) -> int:
    """The most tokens that the model may read in these fields, apart from `messages`."""
    written = {name: to_json(value) for name, value in fields.items()}
    return requests.count_json(_read_besides(fields, written), count) + requests.count_tools(fields)


def _limit(fields: Mapping[str, Any]) -> tuple[LimitName, int | None]:
    old, new = requests.tokens(fields, "max_tokens"), requests.tokens(fields, "max_completion_tokens")
    if old is not None and new is not None:
        raise InvalidRequest("max_tokens and max_completion_tokens must not be given together.", param="max_tokens")
    if fields.get("prediction") is not None:
        return "max_tokens", new if old is None else old
    if old is None or _WANTS_NEW_NAME.match(str(fields.get("model"))):
        return "max_completion_tokens", new if old is None else old
    return "max_tokens", old


def _metered(fields: dict[str, Any], passed: Collection[str]) -> dict[str, Any]:
    metered.check(fields, FIELDS, passed)
    metered.check_tools(fields, passed)
    return fields if fields.get("n") is None else fields | {"n": 1}  # 1.0 is 1, but not for every reader


def _messages(value: object) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_MESSAGES:
        given = f"; it has {len(value)}" if isinstance(value, list) else ""
        raise InvalidRequest(f"messages must be an array of 1 to {MOST_MESSAGES} messages{given}.", param="messages")
    for index, message in enumerate(value):
        _check_message(message, f"messages[{index}]")
    return tuple(value)


def _check_message(message: object, param: str) -> None:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise InvalidRequest(f"{param} must be an object with a role.", param=param)
    if message.get("audio") is not None:
        where = f"{param}.audio"
        raise InvalidRequest(f"{where} is not supported: its cost cannot be bounded in advance.", param=where)
    content = message.get("content")
    if not isinstance(content, str | list | None):
        raise InvalidRequest(f"{param}.content must be a string or an array.", param=f"{param}.content")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        if not _is_part(part):
            where = f"{param}.content[{index}]"
            raise InvalidRequest(f"{where} must be a part of type text, image_url or refusal.", param=where)


def _is_part(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    kind = part.get("type")
    return kind == "image_url" or (kind in ("text", "refusal") and isinstance(part.get(kind), str))


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    yield message["role"]
    content = message.get("content") or ""
    if isinstance(content, str):
        yield content
    else:
        yield from (part[part["type"]] for part in content if not _is_image(part))


def _others(message: Mapping[str, Any]) -> Iterator[str]:
    yield from _written(message, "role", "content")
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        yield from _written(part, "type", part["type"])


def _written(fields: Mapping[str, Any], *known: str) -> Iterator[str]:
    others = {name: value for name, value in fields.items() if name not in known and value is not None}
    if others:
        yield to_json(others)


def _read_besides(fields: Mapping[str, Any], written: Mapping[str, str], passed: Iterable[str] = ()) -> str:
    read = [name for name in dict.fromkeys((*READ_BY_THE_MODEL, *passed)) if fields.get(name) is not None]
    return write_object(written, read) if read else ""


def _images(message: Mapping[str, Any]) -> Iterator[Any]:
    content = message.get("content")
    for part in filter(_is_image, content if isinstance(content, list) else ()):
        image = part.get("image_url")
        yield image.get("detail") if isinstance(image, dict) else None


def _is_image(part: Mapping[str, Any]) -> bool:
    return bool(part["type"] == "image_url")
