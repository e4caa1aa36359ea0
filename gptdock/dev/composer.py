"""The answers of the simulated OpenAI, and their token counts."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from gptdock.dev.journal import Record
from gptdock.dev.script import Script
from gptdock.dev.wire import Completion

Pieces = Callable[[str], list[str]]

_FRIENDLY = (
    "This is the simulated OpenAI on your own machine, so nothing is spent here. Your question has {length} characters "
    'and begins with "{start}". A real model would think about it now; I can only count its tokens, and send you these '
    "words one by one, at the pace you know."
)


def words(text: str) -> list[str]:
    """A text cut into words, each with the space before it: stands in for the tokens where no tokenizer is loaded."""
    return re.findall(r"\s?\S+|\s", text)


def prompt_tokens(messages: Sequence[Mapping[str, Any]], pieces: Pieces) -> int:
    """The prompt's tokens: those of role and content and 3 per message, and 3 more.

    Source: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
    """
    texts = [text for message in messages for text in (str(message.get("role", "")), _text(message))]
    return sum(len(pieces(text)) for text in texts) + 3 * len(messages) + 3


def compose(script: Script, record: Record, pieces: Pieces) -> Completion:
    """The answer that `script` gives to the request of `record`, cut at the request's token limit."""
    request = record.request
    text = _friendly_text(_text(request["messages"][-1])) if script.answer is None else script.answer
    wanted = _tokens(text, pieces, script.tokens)
    limit = None if script.overrun else request.get("max_completion_tokens") or request.get("max_tokens")
    tokens = wanted[:limit]
    return Completion(
        id=record.id,
        created=int(time.time()),
        model=record.model,
        tokens=tokens,
        finish_reason="stop" if tokens == wanted else "length",
        usage=_usage(record.prompt_tokens, len(tokens)) if script.usage is True else script.usage,
        reports_usage=script.usage is not False and _wants_usage(request),
        line_ending=script.line_ending,
    )


def _tokens(text: str, pieces: Pieces, count: int | None) -> list[str]:
    if count is None:
        return pieces(text)
    # The space keeps the tokens at the seam of two copies the same when the whole text is tokenized.
    return list(islice(cycle(pieces(f" {text}")), count))


def _wants_usage(request: Mapping[str, Any]) -> bool:
    options = request.get("stream_options") or {}
    return not request.get("stream") or options.get("include_usage") is True


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _friendly_text(question: str) -> str:
    start = " ".join(question[:40].encode("ascii", "replace").decode().split())
    return _FRIENDLY.format(length=len(question), start=start)


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    details = ("reasoning_tokens", "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": dict.fromkeys(details, 0),
    }
