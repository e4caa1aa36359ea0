"""What the simulated OpenAI shall do with a request, as a value."""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

Cut = Literal["before_head", "close", "rst", "mid_chunk", "after_finish", "clean_no_done", "close_delimited"]

BEFORE_HEAD = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One way to answer a request. `Script()` sends a correct answer without delay.

    `hold_at`, `stall_at`, `error_at` and `cut_at` are numbers of events, from 0. The events of a stream are the role,
    one for each token, the finish, the usage if asked for, and `[DONE]`. A stream of the Responses API has four events
    before the tokens of a text and three before those of a call; behind them three or two, then the last, with the
    usage. The events of a whole answer are its tokens or vectors; those of `raw` its pieces.
    """

    answer: str | None = None  # None: a friendly paragraph
    tokens: int | None = None  # length of the answer, repeated or cut to it; with `raw`, noted as generated
    overrun: bool = False  # ignore max_completion_tokens

    status: int = 200  # other than 200: an error answer
    statuses: tuple[int, ...] = ()  # those of the first requests, one each
    error: Any = None  # the value of "error" in an error answer or event; None: what OpenAI would say
    headers: Mapping[str, str] = field(default_factory=dict)  # on every answer
    content_type: str | None = None

    head_seconds: float = 0  # before the response headers
    first_event_seconds: float = 0  # between the response headers and the first event
    token_seconds: float = 0  # before each token

    hold_at: int | None = None  # wait before this event for a release; BEFORE_HEAD: before the response headers
    stall_at: int | None = None  # wait before this event until the peer leaves; BEFORE_HEAD as above
    comments_every: float | None = None  # seconds between comments while stalled
    error_at: int | None = None  # send an error event instead of this one, and end the body
    failed: bool = False  # of the Responses API: that event is `response.failed`; a whole answer has failed, too

    # before_head      closed without an answer
    # close, rst       closed, or reset, without the last chunk
    # mid_chunk        closed in the middle of an event
    # after_finish     closed after finish_reason, before the usage
    # clean_no_done    a proper end of the body, without `[DONE]`
    # close_delimited  a body without length or chunks, ended by closing the connection
    cut: Cut | None = None
    cut_at: int | None = None  # cut before this event; None: before the last one, `[DONE]`

    usage: Any = True  # True: the real numbers; False: none; any other JSON value is sent as it is
    raw: bytes | None = None  # sent as the body, unchanged
    piece: int | None = None  # bytes per write; None: one event per write, or all of `raw` at once
    line_ending: str = "\n"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The script in the output of `to_json`; fields may be missing. Raises TypeError for an unknown field."""
        arguments = dict(value)
        if arguments.get("raw") is not None:
            arguments["raw"] = base64.b64decode(arguments["raw"])
        return cls(**arguments | {"statuses": tuple(arguments.get("statuses", ()))})

    def to_json(self) -> dict[str, Any]:
        """The fields that differ from `Script()`; `raw` in base64."""
        value = asdict(self)
        if self.raw is not None:
            value["raw"] = base64.b64encode(self.raw).decode()
        usual = Script()
        return {each.name: value[each.name] for each in fields(self) if not _same(self, usual, each.name)}


def _same(script: Script, other: Script, name: str) -> bool:
    # Compare types, too: a usage of 1 is not True, and 0 is not False.
    one, two = getattr(script, name), getattr(other, name)
    return type(one) is type(two) and one == two
