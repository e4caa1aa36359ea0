"""Pure: the body of `/v1/ask`, checked, and the request to the upstream that is made of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from gptdock.accounts import Account, identity, utf8_size
from gptdock.errors import InvalidRequest, PromptTooLong
from gptdock.prompt.strict_json import parse_object

ROLES = ("user", "assistant", "system")
MOST_MESSAGES = 1000
# https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
MESSAGE_TOKENS = 3
PROMPT_TOKENS = 3


_encode = json.JSONEncoder(separators=(",", ":")).encode


class Message(NamedTuple):
    """One turn of a conversation."""

    role: str
    content: str


class Prompt(NamedTuple):
    """The messages that are sent upstream, and the tokens that they cost."""

    messages: tuple[Message, ...]
    tokens: int


class ChatRequest(NamedTuple):
    """The body of `/v1/ask`, checked."""

    question: str
    user_id: str
    client_id: str
    product_id: str
    stream: bool
    history: tuple[Message, ...]

    @classmethod
    def from_json(cls, body: bytes) -> "ChatRequest":
        """The request in `body`. Raises InvalidRequest; its `param` names the first field that is wrong."""
        fields = parse_object(body)
        return cls(
            question=_question(fields.get("question")),
            user_id=identity(fields.get("user_id"), "user_id"),
            client_id=identity(fields.get("client_id"), "client_id"),
            product_id=identity(fields.get("product_id"), "product_id"),
            stream=_stream(fields.get("stream", False)),
            history=_history(fields.get("history", [])),
        )

    @property
    def account(self) -> Account:
        return Account(self.client_id, self.product_id)


def count_message(message: Message, count: Callable[[str], int]) -> int:
    """The tokens that `message` adds to a prompt."""
    return MESSAGE_TOKENS + count(message.role) + count(message.content)


def trim_history(
    history: Sequence[Message], budget: int, count: Callable[[str], int]
) -> tuple[tuple[Message, ...], int]:
    """The newest messages of `history`, as many as cost at most `budget` tokens together, and what they cost."""
    start, tokens = len(history), 0
    while start and budget - tokens >= MESSAGE_TOKENS:
        more = count_message(history[start - 1], count)
        if tokens + more > budget:
            break
        start, tokens = start - 1, tokens + more
    return tuple(history[start:]), tokens


def head(system: str, count: Callable[[str], int]) -> Prompt:
    """What every prompt begins with: the system prompt, if there is one."""
    messages = (Message("system", system),) if system else ()
    return Prompt(messages, PROMPT_TOKENS + sum(count_message(message, count) for message in messages))


def assemble(request: ChatRequest, *, head: Prompt, max_prompt_tokens: int, count: Callable[[str], int]) -> Prompt:
    """The head, as much of the newest history as fits, and the question.

    Raises PromptTooLong if they do not fit without any history.
    """
    question = Message("user", request.question)
    tokens = head.tokens + count_message(question, count)
    if tokens > max_prompt_tokens:
        message = f"The question has {tokens} tokens with what goes with it; {max_prompt_tokens} are allowed."
        raise PromptTooLong(message, param="question")
    history, history_tokens = trim_history(request.history, max_prompt_tokens - tokens, count)
    return Prompt((*head.messages, *history, question), tokens + history_tokens)


def fill_system_prompt(template: str, *, model: str, today: str, now: str) -> str:
    """`template` with {model}, {today} and {now} filled in; other braces stay as they are."""
    return template.replace("{model}", model).replace("{today}", today).replace("{now}", now)


def upstream_body(
    prompt: Prompt, *, model: str, params: Mapping[str, Any], stream: bool, max_completion_tokens: int
) -> bytes:
    """The request to the upstream: `params`, except for the fields that decide its cost."""
    body = {
        **params,
        "model": model,
        "messages": [{"role": role, "content": content} for role, content in prompt.messages],
        "n": 1,
        "max_completion_tokens": max_completion_tokens,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    try:
        return memoryview(orjson.dumps(body)).tobytes()  # its own bytes take 4 KB, which a stream would keep
    except TypeError:  # half a surrogate pair, or an integer of more than 64 bits, in `params`
        return _encode(body).encode("ascii")


def _question(value: object) -> str:
    question = _text(value, "question")
    if not question.strip():
        raise InvalidRequest("question must not be empty.", param="question")
    return question


def _stream(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest("stream must be true or false.", param="stream")
    return value


def _history(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or len(value) > MOST_MESSAGES:
        given = f"; it has {len(value)}" if isinstance(value, list) else ""
        raise InvalidRequest(f"history must be an array of at most {MOST_MESSAGES} messages{given}.", param="history")
    return tuple(_message(entry, f"history[{index}]") for index, entry in enumerate(value))


def _message(value: object, param: str) -> Message:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{param} must be an object with role and content.", param=param)
    role = value.get("role")
    if role not in ROLES:
        raise InvalidRequest(f"{param}.role must be one of {', '.join(ROLES)}.", param=f"{param}.role")
    return Message(role, _text(value.get("content"), f"{param}.content"))


def _text(value: object, param: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{param} must be a string.", param=param)
    if "\0" in value or utf8_size(value) is None:
        raise InvalidRequest(f"{param} must not contain NUL or an unpaired surrogate.", param=param)
    return value
