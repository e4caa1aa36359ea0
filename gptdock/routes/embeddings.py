"""Pure: `/v1/embeddings`: the body, what it costs, and its answers. Nothing is generated, so the input is all the cost.

MAX_PROMPT_TOKENS limits each text, as the models do. Their number is limited by the answer that they would have.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gptdock.accounts import user_in
from gptdock.errors import InvalidRequest
from gptdock.prompt.strict_json import parse_object
from gptdock.routes import chat_texts, requests
from gptdock.routes import fields as metered
from gptdock.routes.chat_answers import error_of
from gptdock.routes.embeddings_fields import FIELDS
from gptdock.routes.requests import Cost, to_json, utf8, write_object
from gptdock.upstream.format import Shape, Told

MOST_INPUTS = 2048  # as OpenAI
MOST_BYTES = 20 * 2**20  # of an answer, which is kept whole: 1000 texts of 3072 dimensions in base64
MOST_DIMENSIONS = 8192
NUMBER_BYTES = {"base64": 6, "float": 32}  # of an answer, for each number in it: OpenAI indents them
_SMALL = re.compile(r"\b(small|ada)\b")  # 1536 dimensions; OpenAI's others have 3072


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """The body of `/v1/embeddings`, checked as far as its cost depends on it."""

    prompt: ClassVar[str] = "input"
    operation: ClassVar[str] = "embeddings"
    stream: ClassVar[bool] = False
    show_usage: ClassVar[bool] = True
    most_tokens: ClassVar[int | None] = 0
    model: str
    user_id: str | None
    passed: str  # the body, as JSON
    texts: tuple[str, ...]
    ids: tuple[int, ...]  # how many, of each list of token ids
    besides: str  # what an operator lets pass, as JSON
    vector_bytes: int  # of all vectors

    @classmethod
    def from_json(cls, body: bytes, models: Collection[str], passed: Collection[str] = ()) -> Self:
        """The request in `body`; the fields `passed` are not looked at, only counted.

        Raises InvalidRequest, whose `param` names the first field that is wrong, or ModelNotFound.
        """
        fields = parse_object(body)
        metered.check(fields, FIELDS, passed)
        inputs = _inputs(fields.get("input"))
        vector_bytes = _vector_bytes(fields, len(inputs))
        written = {name: to_json(value) for name, value in fields.items()}
        others = [name for name in fields if name in passed]
        return cls(
            model=requests.model(fields.get("model"), models),
            user_id=user_in(fields),
            passed=utf8(write_object(written, written)),
            texts=tuple(each for each in inputs if isinstance(each, str)),
            ids=tuple(len(each) for each in inputs if isinstance(each, list)),
            besides=write_object(written, others) if others else "",
            vector_bytes=vector_bytes,
        )

    def cost(self, count: Callable[[str], int]) -> Cost:
        """What the input costs. Only its longest text is limited."""
        counts = [*map(count, self.texts), *self.ids]
        longest = max(counts)
        return Cost(longest, sum(counts) - longest + requests.count_json(self.besides, count))

    def answer_bytes(self, completion_tokens: int) -> int:
        """The most bytes of the answer, which is kept whole."""
        return self.vector_bytes

    def upstream_body(self, completion_tokens: int) -> bytes:
        """The request to the upstream: there is no limit to send."""
        return self.passed.encode()


def _inputs(value: object) -> list[Any]:
    if isinstance(value, str) or _are_ids(value):
        value = [value]
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_INPUTS:
        raise InvalidRequest(f"input must be a text, or 1 to {MOST_INPUTS} texts or lists of token ids.", param="input")
    for index, each in enumerate(value):
        if not (isinstance(each, str) and each) and not _are_ids(each):
            where = f"input[{index}]"
            raise InvalidRequest(f"{where} must be a text or a list of token ids, and not empty.", param=where)
    return value


def _are_ids(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) is int for each in value)


def _vector_bytes(fields: Mapping[str, Any], count: int) -> int:
    """An answer that is too large would be paid for, and not passed on."""
    dimensions = fields.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or not 1 <= dimensions <= MOST_DIMENSIONS):
        raise InvalidRequest(f"dimensions must be a whole number from 1 to {MOST_DIMENSIONS}.", param="dimensions")
    form = "float" if fields.get("encoding_format") is None else fields["encoding_format"]
    if form not in ("float", "base64"):
        raise InvalidRequest("encoding_format must be float or base64.", param="encoding_format")
    usual = 1536 if _SMALL.search(str(fields.get("model"))) else 3072
    each = (dimensions or usual) * NUMBER_BYTES[form]
    most = MOST_BYTES // each
    if count > most:
        raise InvalidRequest(f"input may have {most} texts of these dimensions, and has {count}.", param="input")
    return count * each


class EmbeddingsFormat:
    """See `Format`. There are no streams."""

    path = "/embeddings"
    ends_by_done = True
    names_events = False
    has_text = False
    most_bytes = MOST_BYTES

    def text_of(self, content: dict[str, Any]) -> str:
        return ""

    def lean(self, data: bytes) -> bytes:
        return data

    def told(self, event: dict[str, Any], text: str) -> Told:
        error = error_of(event)
        is_odd = error is None and not self.is_answer(event)
        return Told(event.get("usage"), error, more=_vectors_in(event) if is_odd else "")

    def usage_of(self, answer: dict[str, Any]) -> object:
        return answer.get("usage")

    def is_shown(self, event: dict[str, Any]) -> bool:
        return True

    def shape(self, raw: bytes, text: str) -> Shape | None:
        return None

    def is_answer(self, content: dict[str, Any]) -> bool:
        return isinstance(content.get("data"), list)

    def is_unfinished(self, answer: dict[str, Any]) -> bool:
        return False

    def of_text(self, text: str) -> dict[str, Any]:
        return {"object": "list", "data": []}

    def to_events(self, answer: dict[str, Any], usage: object, *, is_whole: bool) -> list[dict[str, Any]]:
        return [answer]

    def next_number(self, event: dict[str, Any]) -> int:
        return 0

    def error_event(self, error: dict[str, Any], number: int) -> bytes:
        return b"data: " + to_json(error).encode() + b"\n\n"


def _vectors_in(answer: dict[str, Any]) -> str:
    """Something if there may be vectors in an answer of another shape: a list of numbers, or a text; otherwise empty.

    Others answer `{"embeddings": [[...]]}` (Ollama, Cohere) or `[{"embedding": [...]}]` (Text Embeddings Inference).
    """
    pending: list[Any] = [answer]
    while pending:
        value = pending.pop()
        if isinstance(value, list) and value and type(value[0]) in (int, float):
            return "vector"
        if isinstance(value, list | dict):
            pending += value.values() if isinstance(value, dict) else value
    return chat_texts.unknown_text_of(answer, "")


FORMAT = EmbeddingsFormat()
