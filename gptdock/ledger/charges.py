"""Pure: what a completion is charged: what the upstream reports or, when it was cut, what was counted.

Time is charged where tokens may have been generated unseen: while a model may think, and before an answer began, or a
whole one ended. How many a second, `rates` learns.
"""

import re
from functools import cache
from typing import Literal, NamedTuple

# Models whose first word is the first token that they generate. The name of a tuned model begins with `ft:`; others may
# begin with their maker's name.
_WRITES_AT_ONCE = re.compile(r"(?:ft:|.*/)?(?:gpt-3\.5|gpt-4|chatgpt-4o)")


class Charge(NamedTuple):
    """What a completion costs, in tokens, and where the number comes from."""

    tokens: int
    prompt_tokens: int
    completion_tokens: int
    source: Literal["upstream", "counted"]  # two of `book.Source`
    cached_tokens: int = 0  # of the prompt's
    reasoning_tokens: int = 0


def exact(tokens: int, prompt_tokens: int, completion_tokens: int, cached: int = 0, reasoning: int = 0) -> Charge:
    """The charge for what the upstream reports, also above the hold."""
    return Charge(tokens, prompt_tokens, completion_tokens, "upstream", cached, reasoning)


def with_lost(charge: Charge, prompt_tokens: int, unseen_tokens: int, hold_tokens: int) -> Charge:
    """The charge of an answer, with what attempts before it may have cost, so far as the hold has room for that."""
    more = counted(prompt_tokens, unseen_tokens, max(0, hold_tokens - charge.tokens))
    if not more.tokens:
        return charge
    return charge._replace(
        tokens=charge.tokens + more.tokens,
        prompt_tokens=charge.prompt_tokens + more.prompt_tokens,
        completion_tokens=charge.completion_tokens + more.completion_tokens,
        source="counted",
    )


def counted(prompt_tokens: int, completion_tokens: int, hold_tokens: int) -> Charge:
    """The charge for what we counted: at most the hold; its two parts sum to it."""
    tokens = min(prompt_tokens + completion_tokens, hold_tokens)
    prompt_tokens = min(prompt_tokens, tokens)
    return Charge(tokens, prompt_tokens, tokens - prompt_tokens, "counted")


@cache  # the models are those of the settings, so a few
def may_think(model: str) -> bool:
    """Whether `model` may generate hidden tokens before its first word: all but those known to write at once."""
    return not _WRITES_AT_ONCE.match(model)
