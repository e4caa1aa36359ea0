"""Pure: the usage that an upstream reports, as far as it can be believed.

Upstreams contradict themselves: a total of 0 beside parts that are not, parts without a total, a total below its parts.
Where two numbers differ, the higher one was paid for.
"""

from typing import Any, NamedTuple

from gptdock.settings import MOST_ANSWER_TOKENS

_COUNTS = ("total_tokens", "prompt_tokens", "completion_tokens")


class Usage(NamedTuple):
    """What the upstream reports as used. `cached_tokens` are part of the prompt, `reasoning_tokens` of the rest."""

    total_tokens: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def denies_text(self) -> bool:
        """Whether it says that no text was generated: its total is 0, or the prompt's alone."""
        return self.total_tokens == self.prompt_tokens

    def denies_answer(self, *, has_text: bool) -> bool:
        """Whether it cannot be that of an answer: of one with text if it denies that, of any other if it is 0."""
        return self.denies_text if has_text else not self.total_tokens


def sane_usage(value: object) -> Usage | None:
    """The usage in `value`: its total or the sum of its parts, whichever is more; a part that is odd counts as 0.

    The parts may have the names of either API.

    None if neither the total nor both parts are numbers from 0 to MOST_ANSWER_TOKENS.
    """
    if not isinstance(value, dict):
        return None
    total, prompt, completion = map(_sane, map(value.get, _COUNTS))
    if prompt is None and completion is None:
        prompt, completion = _sane(value.get("input_tokens")), _sane(value.get("output_tokens"))
    if total is None and (prompt is None or completion is None):
        return None
    parts = (prompt or 0) + (completion or 0)
    if parts > MOST_ANSWER_TOKENS:
        return None
    most = max(total or 0, parts)
    cached = _detail(value, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens", prompt or 0)
    of_answer = ("completion_tokens_details", "output_tokens_details")
    reasoning = _detail(value, of_answer, "reasoning_tokens", most - (prompt or 0))
    return Usage(most, prompt or 0, completion or 0, cached, reasoning)


def as_reported(usage: Usage) -> dict[str, Any]:
    """The usage as an upstream reports it."""
    counts = {name: value for name, value in usage._asdict().items() if name in _COUNTS}
    prompt, completion = {"cached_tokens": usage.cached_tokens}, {"reasoning_tokens": usage.reasoning_tokens}
    return counts | {"prompt_tokens_details": prompt, "completion_tokens_details": completion}


def _detail(usage: dict[str, Any], keys: tuple[str, str], name: str, most: int) -> int:
    """What is said of a part, by the name of either API, and no more than the part; if it is odd or absent, 0."""
    for key in keys:
        if isinstance(details := usage.get(key), dict):
            return min(_sane(details.get(name)) or 0, most)
    return 0


def _sane(tokens: object) -> int | None:
    if type(tokens) is float and tokens.is_integer():  # JSON does not tell 30 from 30.0, and some upstreams write this
        tokens = int(tokens)
    return tokens if type(tokens) is int and 0 <= tokens <= MOST_ANSWER_TOKENS else None
