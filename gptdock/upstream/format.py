"""Pure: what this package must know about the answers of a route, to send its requests and to meter them.

The rooms of `gptdock.routes` implement it. An event, or a whole answer, is a JSON object here: `content`. A method may
raise RecursionError if it is nested too deeply.
"""

from typing import Any, NamedTuple, Protocol


class Shape(Protocol):
    """What events have in common that differ by their text alone, so that these need not be parsed."""

    def text_of(self, raw: bytes) -> bytes | None:
        """The text of an event that is like this one, from its bytes, in UTF-8; None of any other."""


class Again(NamedTuple):
    """What an event of an answer that tells its text more than once repeats: `text` of this `kind`, as far as it came.

    `of_all`: the events of this kind together repeat text of all kinds; without a kind, each does so alone.
    """

    kind: str
    text: str = ""
    of_all: bool = False


class Told(NamedTuple):
    """What an event tells. `usage` has the names of chat completions, `error` is what the upstream complains about.

    `more` is what may be text besides, in fields that are not known. `again` is None if text is told only once.
    `thinks`: hidden thoughts may go on behind this event, whose text, if it has any, is only a summary of thoughts.
    """

    usage: object = None
    error: dict[str, Any] | None = None
    ends: bool = False  # the answer: nothing of it may follow
    more: str = ""
    again: Again | None = None
    thinks: bool = False


class Format(Protocol):
    """How the answers of one route look.

    `path` is below the base URL. `ends_by_done`: a stream ends with [DONE]; otherwise with an event that tells so.
    `names_events`: callers get the names of events, in lines `event: name`. `most_bytes` are kept of a whole answer.
    `has_text`: whether text is generated, so that a usage of the prompt's tokens alone is odd; otherwise one of 0 is.
    """

    path: str
    ends_by_done: bool
    names_events: bool
    has_text: bool
    most_bytes: int

    def text_of(self, content: dict[str, Any]) -> str:
        """All text that was generated, in an event or in a whole answer."""

    def lean(self, data: bytes) -> bytes:
        """A large event without what tells nothing and makes it large, if that is soon found; it may be no JSON."""

    def told(self, event: dict[str, Any], text: str) -> Told:
        """What an event or a whole answer tells besides `text`, which is what `text_of` found in it."""

    def usage_of(self, answer: dict[str, Any]) -> object:
        """The usage in a whole answer."""

    def is_shown(self, event: dict[str, Any]) -> bool:
        """Whether the caller gets an event that has no error also if it did not ask for the usage."""

    def shape(self, raw: bytes, text: str) -> Shape | None:
        """What later events may have in common with this one, whose bytes are `raw`, and which has this text."""

    def is_answer(self, content: dict[str, Any]) -> bool:
        """Whether a whole body without a usage is an answer, as opposed to an error in spite of the status."""

    def is_unfinished(self, answer: dict[str, Any]) -> bool:
        """Whether a whole answer, of which the end may be missing, says that its generation has not ended by itself."""

    def of_text(self, text: str) -> dict[str, Any]:
        """A whole answer of this text, for an answer that came in another form."""

    def to_events(self, answer: dict[str, Any], usage: object, *, is_whole: bool) -> list[dict[str, Any]]:
        """A whole answer as the events of a stream, without [DONE]; of one that is not whole only the usage."""

    def next_number(self, event: dict[str, Any]) -> int:
        """The number of the event behind this one; 0 where they have none."""

    def error_event(self, error: dict[str, Any], number: int) -> bytes:
        """An error of ours as an event of this number."""
