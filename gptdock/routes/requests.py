"""Pure: what the requests of all routes have in common, and how they are read and written."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import orjson

from gptdock.errors import InvalidRequest, ModelNotFound, PromptTooLong
from gptdock.settings import MOST_ANSWER_TOKENS

# What the model reads besides messages. As JSON it takes more tokens than in OpenAI's own notation, except enums: each
# value costs 3 tokens more than its text, one of them its comma (the cookbook that `gptdock.prompt.ask` cites).
LISTED_TOKENS = 2
TOOLS_TOKENS, TOOL_TOKENS = 12, 7  # once, and for each; the JSON of the smallest tools is less
MOST_LIKELY = 20  # for each token; OpenAI refuses more
LIKELY_BYTES = 300  # for each likely token that an answer tells, as OpenAI indents it: its text, number and bytes
_ESCAPED = re.compile(r'("(?:[^"\\]*\\.)+[^"\\]*")')  # a string with escapes; there are none between strings
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode  # json.dumps would make one for each call


class Cost(NamedTuple):
    """What a prompt costs at most, in tokens. MAX_PROMPT_TOKENS limits its text, and nothing else of it."""

    text: int
    others: int  # images, and what is encrypted
    recalled: int = 0  # pieces of reasoning in the upstream's store, each at most as long as an answer


class Request(Protocol):
    """A request of a caller, checked as far as its cost depends on it.

    `prompt` is the name of the field with the prompt, `operation` what OpenTelemetry calls what is asked for,
    `most_tokens` the longest answer that the caller wants.
    """

    prompt: ClassVar[str]
    operation: ClassVar[str]

    @property
    def model(self) -> str: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def stream(self) -> bool: ...
    @property
    def show_usage(self) -> bool: ...
    @property
    def most_tokens(self) -> int | None: ...

    def cost(self, count: Callable[[str], int]) -> Cost:
        """What the prompt costs at most; `count` counts the tokens of a text."""

    def answer_bytes(self, completion_tokens: int) -> int:
        """The most bytes of an answer of so many tokens, or of one event, where they may be many; otherwise 0."""

    def upstream_body(self, completion_tokens: int) -> bytes:
        """The request to the upstream, for an answer of at most `completion_tokens`."""


def price(request: Request, *, max_prompt_tokens: int, max_completion_tokens: int, count: Callable[[str], int]) -> int:
    """The most tokens that the prompt may cost. Raises PromptTooLong if its text is over the limit."""
    cost = request.cost(count)
    if cost.text > max_prompt_tokens:
        sizes = f"{cost.text} tokens; {max_prompt_tokens} are allowed"
        raise PromptTooLong(f"The {request.prompt}, tools and formats have {sizes}.", param=request.prompt)
    return cost.text + cost.others + cost.recalled * max_completion_tokens


def count_json(written: str, count: Callable[[str], int]) -> int:
    """The most tokens that the model may read in this JSON, in whatever notation."""
    return count_strings(written, count) + written.count(",") * LISTED_TOKENS


def count_strings(written: str, count: Callable[[str], int]) -> int:
    """The tokens of this JSON. Of a string with escapes, the model may read either form: the longer one counts."""
    if "\\" not in written:
        return count(written)
    pieces = _ESCAPED.split(written)  # every second one is a match
    return count("".join(pieces[::2])) + sum(max(count(piece), count(json.loads(piece))) for piece in pieces[1::2])


def count_tools(fields: Mapping[str, Any]) -> int:
    """The tokens that the tools in these fields cost besides their JSON."""
    lists = (fields.get(name) for name in ("tools", "functions"))
    number = sum(len(each) for each in lists if isinstance(each, list))
    return TOOLS_TOKENS + number * TOOL_TOKENS if number else 0


def count_likely(fields: Mapping[str, Any]) -> int:
    """How many tokens an answer is to tell for each of its own, the likely ones in its place included."""
    top = fields.get("top_logprobs")
    return 1 + (min(MOST_LIKELY, max(0, int(top))) if isinstance(top, int | float) else 0)


def model(value: object, models: Collection[str]) -> str:
    """The model, if it is one of those served. Raises InvalidRequest, or ModelNotFound, which lists them."""
    if not isinstance(value, str):
        raise InvalidRequest("model must be a string.", param="model")
    if value not in models:
        raise ModelNotFound(f"This model is not served here. Served are: {', '.join(models) or 'none'}.", param="model")
    return value


def tokens(fields: Mapping[str, Any], name: str) -> int | None:
    """The limit of an answer in this field, if it is given. Raises InvalidRequest."""
    limit: int | None = optional(fields, name, int)
    if limit is not None and not 1 <= limit <= MOST_ANSWER_TOKENS:
        given = f"; it is {limit}" if abs(limit) < 10**20 else ""
        raise InvalidRequest(f"{name} must be from 1 to {MOST_ANSWER_TOKENS}{given}.", param=name)
    return limit


def optional(fields: Mapping[str, Any], name: str, kind: type) -> Any:
    """The field, which must be of this type, or None. Raises InvalidRequest."""
    value = fields.get(name)
    if value is not None and type(value) is not kind:  # type, since True is an int
        words = {bool: "true or false", int: "a whole number", dict: "an object", str: "a string"}
        raise InvalidRequest(f"{name} must be {words[kind]}.", param=name)
    return value


def write_object(written: Mapping[str, str], names: Iterable[str]) -> str:
    """An object of these fields, whose values are JSON already."""
    return f"{{{','.join(f'{to_json(name)}:{written[name]}' for name in names)}}}"


def to_json(value: object) -> str:
    """The value as JSON. Raises InvalidRequest if it is nested too deeply."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # half a surrogate pair, an integer of more than 64 bits, or deeper than orjson writes
        pass
    try:
        return _encode(value)
    except RecursionError as exc:  # writing needs more stack than reading
        raise InvalidRequest("The body is nested too deeply.", param="body") from exc


def utf8(text: str) -> str:
    """The text, if it can be written as UTF-8. Raises InvalidRequest."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidRequest("The body must not contain an unpaired surrogate.", param="body") from exc
    return text
