"""What the simulated OpenAI is asked, of whichever route: what it reads, and what its answer must be."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

Pieces = Callable[[str], list[str]]


class Tool(NamedTuple):
    """A function that the model may call with arguments by this schema; without one, a tool that takes any text."""

    name: str
    schema: Any

    @classmethod
    def from_json(cls, tool: Mapping[str, Any]) -> Self:
        """A tool of chat completions, where its fields are one level deeper, or of responses."""
        fields = _inner(tool)
        custom = tool.get("type") == "custom"
        return cls(str(fields.get("name")), None if custom else fields.get("parameters") or {"type": "object"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request. `texts` are those that the model reads, `other_tokens` what it reads besides."""

    question: str = ""
    texts: tuple[str, ...]
    other_tokens: int
    limit: int | None = None
    schema: Any = None  # of the answer; None: plain text
    tool: Tool | None = None  # to be called, rather than answered

    def prompt_tokens(self, pieces: Pieces) -> int:
        """All that the model reads; `pieces` cuts a text into tokens."""
        return sum(len(pieces(text)) for text in self.texts) + self.other_tokens


def schema_asked(form: Any) -> Any:
    """The schema in a format of the answer, of either route; None for plain text, and for what is no format."""
    if not isinstance(form, Mapping):
        return None
    if form.get("type") == "json_object":
        return {"properties": {"answer": {"type": "string"}}}
    return _inner(form).get("schema", {}) if form.get("type") == "json_schema" else None


def tool_asked(body: Mapping[str, Any], called: Sequence[str], *, is_question: bool) -> Tool | None:
    """The tool that an answer calls: the first one, if the last turn is a question or a call is required.

    If a call is required, the first that is not among those `called` since the question, so that loops end.
    """
    choice = body.get("tool_choice") or "auto"
    mode, names = _choice(choice) if isinstance(choice, dict) else (choice, None)
    tools = [Tool.from_json(tool) for tool in body.get("tools") or () if tool.get("type") in ("function", "custom")]
    tools = [tool for tool in tools if names is None or tool.name in names]
    if not tools or mode == "none" or (mode == "auto" and not is_question):
        return None
    return next((tool for tool in tools if tool.name not in called), tools[-1])


def texts_besides(*values: Any) -> Iterator[str]:
    """What the model reads besides texts, as JSON."""
    return (to_json(value) for value in values if value)


def to_json(value: Any) -> str:
    """JSON as the model writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _choice(choice: Mapping[str, Any]) -> tuple[str, list[Any]]:
    fields = _inner(choice)
    if choice.get("type") == "allowed_tools":
        return fields.get("mode", "auto"), [_inner(tool).get("name") for tool in fields.get("tools") or ()]
    return "required", [fields.get("name")]


def _inner(value: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = value.get(value.get("type", ""))
    return inner if isinstance(inner, Mapping) else value
