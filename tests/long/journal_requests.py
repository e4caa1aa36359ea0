"""Random requests on all routes, each with a way in which its answer ends."""

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gptdock.dev.script import BEFORE_HEAD, Script
from tests.long.journal_answers import whole_answer

MODELS = ("gpt-4o-mini", "o4-mini")  # the second one may think before it writes
EMBEDDING_MODEL = "text-embedding-3-small"
MOST_COMPLETION_TOKENS = 50
PACE = 0.01  # seconds for a token that is not seen, half as fast as time is charged: a real model takes time, too
IN_FLIGHT_TOKENS = 3  # written but not yet received when a connection is closed while text comes
ROUTES = ("ask", "chat/completions", "responses", "embeddings")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
PASSING = Script(status=500, headers={"retry-after-ms": "1"})


class Plan(NamedTuple):
    """What the upstream plays, attempt by attempt; the caller leaves once it has written `leave_at` events."""

    scripts: tuple[Script, ...]
    leave_at: int | None = None


class Asked(NamedTuple):
    """One request, numbered in its text."""

    number: int
    kind: str
    route: str
    body: dict[str, Any]
    plan: Plan


class Draw:
    """What chance decides of a request besides its kind."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.chance = chance
        self.route = chance.choice(ROUTES)
        self.streamed = self.route != "embeddings" and chance.random() < 0.6
        self.tokens = chance.randrange(1, 40)
        self.at = chance.randrange(self.tokens + 8)  # an event before, within or behind the text
        self.body = _BODIES[self.route](chance, f"I am number-{number}. " + "Why? " * chance.randrange(20))
        if self.streamed:
            self.body["stream"] = True

    def script(self, **fields: Any) -> Script:
        """An answer of this length; of a stream in whole or broken events, with either kind of line ends."""
        piece = self.chance.choice([None, 50, 300]) if self.streamed else None
        usual = {"tokens": self.tokens, "piece": piece, "line_ending": self.chance.choice(["\n", "\r\n"])}
        return Script(**usual | fields)

    def unseen(self, **fields: Any) -> Script:
        """The same, of which not all may be seen: what is seen only at its end takes its time."""
        return self.script(token_seconds=0 if self.streamed else PACE, **fields)


def draw(number: int, chance: random.Random, kinds: Sequence[str]) -> Asked:
    """A request of the kind whose turn it is."""
    kind = kinds[number % len(kinds)]
    drawn = Draw(number, chance)
    return Asked(number, kind, drawn.route, drawn.body, KINDS[kind](drawn))


def _ask(chance: random.Random, words: str) -> dict[str, Any]:
    return {"question": words}


def _chat(chance: random.Random, words: str) -> dict[str, Any]:
    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
    more: dict[str, Any] = chance.choice([{}, {"tools": [tool]}, {"response_format": form}])
    body = {"model": chance.choice(MODELS), "messages": [{"role": "user", "content": words}]}
    return body | more | _limit(chance, "max_completion_tokens")


def _responses(chance: random.Random, words: str) -> dict[str, Any]:
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA}
    form = {"type": "json_schema", "name": "city", "schema": SCHEMA}
    more: dict[str, Any] = chance.choice([{}, {"tools": [tool]}, {"text": {"format": form}}])
    return {"model": chance.choice(MODELS), "input": words} | more | _limit(chance, "max_output_tokens")


def _embeddings(chance: random.Random, words: str) -> dict[str, Any]:
    return {"model": EMBEDDING_MODEL, "input": chance.choice([words, [words, "Why?"]]), "dimensions": 8}


def _limit(chance: random.Random, name: str) -> dict[str, Any]:
    limit = chance.choice([None, 16, 30, 500])
    return {name: limit} if limit else {}


_BODIES = {"ask": _ask, "chat/completions": _chat, "responses": _responses, "embeddings": _embeddings}


def _cut(drawn: Draw) -> Plan:
    cut = drawn.chance.choice(["close", "rst", "mid_chunk", "clean_no_done", "close_delimited"])
    return Plan((drawn.unseen(cut=cut, cut_at=drawn.at),))


def _failed(drawn: Draw) -> Plan:
    at = drawn.at if drawn.streamed else None
    return Plan((drawn.unseen(failed=True, error_at=at, usage=drawn.chance.random() < 0.5),))


def _odd_usage(drawn: Draw) -> Plan:
    return Plan((drawn.unseen(usage=drawn.chance.choice([{}, {"total_tokens": -1}, {"total_tokens": None}, "many"])),))


def _refused(drawn: Draw) -> Plan:
    return Plan((Script(status=drawn.chance.choice([400, 401, 403, 404, 422])),))


def _over(drawn: Draw, tokens: int) -> Plan:
    """An upstream that knows no limit; it does not always say what that costs."""
    usage = not drawn.streamed or drawn.chance.random() < 0.5
    return Plan((drawn.script(overrun=True, tokens=tokens, usage=usage, piece=None),))


STALLED = "stalled"  # the only kind that ends by a deadline
KINDS: dict[str, Callable[[Draw], Plan]] = {
    STALLED: lambda drawn: Plan((drawn.unseen(stall_at=drawn.at),)),
    "whole": lambda drawn: Plan((drawn.script(),)),
    "without usage": lambda drawn: Plan((drawn.unseen(usage=False),)),
    "odd usage": _odd_usage,
    "slow": lambda drawn: Plan((drawn.script(head_seconds=0.1, first_event_seconds=0.2, token_seconds=PACE),)),
    "refused": _refused,
    "rate limited": lambda drawn: Plan((Script(status=429, headers={"Retry-After": "60"}),)),
    "down": lambda _: Plan((PASSING,) * 3),
    "refused, then whole": lambda drawn: Plan((PASSING, drawn.script())),
    "lost, then whole": lambda drawn: Plan((Script(cut="before_head"), drawn.script())),
    "cut": _cut,
    "cut at its end": lambda drawn: Plan((drawn.unseen(cut="after_finish"),)),
    "error": lambda drawn: Plan((drawn.unseen(error_at=drawn.at),)),
    "error at once": lambda drawn: Plan((drawn.unseen(error_at=0),)),
    "failed": _failed,
    "left": lambda drawn: Plan((drawn.unseen(stall_at=drawn.at),), drawn.at),
    "left under way": lambda drawn: Plan((drawn.script(token_seconds=PACE),), drawn.at),
    "left before its head": lambda drawn: Plan((drawn.script(stall_at=BEFORE_HEAD),), 0),
    "over its limit": lambda drawn: _over(drawn, MOST_COMPLETION_TOKENS + drawn.tokens),
    "far over its limit": lambda drawn: _over(drawn, 8 * MOST_COMPLETION_TOKENS + drawn.tokens),
    "in another form": lambda drawn: Plan((whole_answer(drawn.route, drawn.tokens, streamed=not drawn.streamed),)),
}
