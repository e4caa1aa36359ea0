"""What the simulated OpenAI answers: a text, a value that fits a schema, or the call of a tool."""

import re
from dataclasses import dataclass
from itertools import cycle, islice

from gptdock.dev.asked import Asked, Pieces, Tool, to_json
from gptdock.dev.schemas import value_for
from gptdock.dev.script import Script

_FRIENDLY = (
    "This is the simulated OpenAI on your own machine, so nothing is spent here. Your question has {length} characters "
    'and begins with "{start}". A real model would think about it now; I can only count its tokens, and send you these '
    "words one by one, at the pace you know."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is generated: `tokens` of text, or of the arguments of `tool`, whose name takes `name_tokens` besides."""

    tokens: list[str]
    tool: Tool | None = None
    name_tokens: int = 0
    is_cut: bool = False  # at the limit

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def size(self) -> int:
        """All generated tokens."""
        return self.name_tokens + len(self.tokens)


def words(text: str) -> list[str]:
    """A text cut into words, each with the space before it: stands in for the tokens where no tokenizer is loaded."""
    return re.findall(r"\s?\S+|\s", text)


def compose(script: Script, asked: Asked, pieces: Pieces) -> Answer:
    """The answer that `script` gives, cut at the limit of the request. A script that has an answer calls no tool."""
    tool = asked.tool if script.answer is None else None
    name_tokens = len(pieces(tool.name)) if tool else 0
    limit = None if script.overrun or asked.limit is None else asked.limit - name_tokens
    if limit is not None and limit < 0:
        tool, name_tokens, limit = None, 0, asked.limit
    wanted = _tokens(_text(script, asked, tool), pieces, script.tokens)
    tokens = wanted[:limit]
    return Answer(tokens=tokens, tool=tool, name_tokens=name_tokens, is_cut=tokens != wanted)


def _text(script: Script, asked: Asked, tool: Tool | None) -> str:
    if script.answer is not None:
        return script.answer
    if tool:
        return _friendly(asked.question) if tool.schema is None else to_json(value_for(tool.schema))
    return _friendly(asked.question) if asked.schema is None else to_json(value_for(asked.schema))


def _tokens(text: str, pieces: Pieces, count: int | None) -> list[str]:
    if count is None:
        return pieces(text)
    # The space keeps the tokens at the seam of two copies the same when the whole text is tokenized.
    return list(islice(cycle(pieces(f" {text}")), count))


def _friendly(question: str) -> str:
    start = " ".join(question[:40].encode("ascii", "replace").decode().split())
    return _FRIENDLY.format(length=len(question), start=start)
