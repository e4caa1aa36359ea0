"""How the simulated OpenAI shall behave, as a value."""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

Cut = Literal["before_head", "close", "rst", "mid_chunk", "after_finish", "clean_no_done", "close_delimited"]

BEFORE_HEAD = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One way to answer a request; without arguments it answers well and at once.

    A stream's events are counted from 0: the role, one for each token, the finish, the usage if wanted, `[DONE]`. Of a
    whole answer each token counts as an event. Of `raw` each piece does.
    """

    answer: str | None = None  # None: a friendly paragraph
    tokens: int | None = None  # so many, the answer repeated or cut; of `raw`, which nobody counts, what it generates
    overrun: bool = False  # disregard max_completion_tokens

    status: int = 200  # other than 200: an error answer
    statuses: tuple[int, ...] = ()  # used up first, one a request
    error: Any = None  # what stands in {"error": ...} of an error answer or event; None: what OpenAI would say
    headers: Mapping[str, str] = field(default_factory=dict)  # on every answer
    content_type: str | None = None

    head_seconds: float = 0  # before the head
    first_event_seconds: float = 0  # between head and first event
    token_seconds: float = 0  # before each token

    hold_at: int | None = None  # wait before this event for a release; BEFORE_HEAD: before the head
    stall_at: int | None = None  # wait before this event until the peer leaves; BEFORE_HEAD: before the head
    comments_every: float | None = None  # seconds between comments while stalled
    error_at: int | None = None  # an error event instead of this one, which ends the body

    # before_head      closed without an answer
    # close, rst       closed, or reset, without the last chunk
    # mid_chunk        closed in the middle of an event
    # after_finish     closed after finish_reason, before the usage
    # clean_no_done    a proper end of the body
    # close_delimited  a body that only the close ends
    cut: Cut | None = None
    cut_at: int | None = None  # before this event; None: before the last one, `[DONE]`

    usage: Any = True  # False: never sent; any other JSON value is sent in its place
    raw: bytes | None = None  # the body, as it is
    piece: int | None = None  # bytes a write; None: an event a write, or all of `raw`
    line_ending: str = "\n"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The script that `to_json` told; fields may be left out. Raises TypeError for a field that is not one."""
        arguments = dict(value)
        if arguments.get("raw") is not None:
            arguments["raw"] = base64.b64decode(arguments["raw"])
        return cls(**arguments | {"statuses": tuple(arguments.get("statuses", ()))})

    def to_json(self) -> dict[str, Any]:
        """The fields that are not as usual, `raw` in base64."""
        value = asdict(self)
        if self.raw is not None:
            value["raw"] = base64.b64encode(self.raw).decode()
        usual = Script()
        return {each.name: value[each.name] for each in fields(self) if not _same(self, usual, each.name)}


def _same(script: Script, other: Script, name: str) -> bool:
    # The type too: a usage of 1 or 0 is not the usual True, nor False.
    one, two = getattr(script, name), getattr(other, name)
    return type(one) is type(two) and one == two
