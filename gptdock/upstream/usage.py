"""Pure: the usage that an upstream reports, as far as it can be believed.

Upstreams contradict themselves: a total of 0 beside parts that are not, parts without a total, a total below its parts.
Where two numbers differ, the higher one was paid for.
"""

from typing import NamedTuple

from gptdock.settings import MOST_ANSWER_TOKENS


class Usage(NamedTuple):
    """What the upstream reports as used."""

    total_tokens: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def denies_text(self) -> bool:
        """Whether it says that no text was generated: its total is 0, or the prompt's alone."""
        return self.total_tokens == self.prompt_tokens


def sane_usage(value: object) -> Usage | None:
    """The usage in `value`: its total or the sum of its parts, whichever is more; a part that is odd counts as 0.

    None if neither the total nor both parts are numbers from 0 to MOST_ANSWER_TOKENS.
    """
    if not isinstance(value, dict):
        return None
    total, prompt, completion = map(_sane, map(value.get, Usage._fields))
    if total is None and (prompt is None or completion is None):
        return None
    parts = (prompt or 0) + (completion or 0)
    if parts > MOST_ANSWER_TOKENS:
        return None
    return Usage(max(total or 0, parts), prompt or 0, completion or 0)


def _sane(tokens: object) -> int | None:
    if type(tokens) is float and tokens.is_integer():  # JSON does not tell 30 from 30.0, and some upstreams write this
        tokens = int(tokens)
    return tokens if type(tokens) is int and 0 <= tokens <= MOST_ANSWER_TOKENS else None
