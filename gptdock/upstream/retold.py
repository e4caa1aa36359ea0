"""Pure: which text is new in an answer that tells its text more than once: as it is generated, by parts, and whole.

Each telling may leave something out, and the longest counts: what a later one has more than those before is new. Only
lengths are compared, as the order of what is told in parallel may differ.
"""

from gptdock.upstream.format import Again


class Retold:
    """The tellings of one answer."""

    __slots__ = ("_again", "_came")

    def __init__(self) -> None:
        self._came: dict[str, int] = {}  # characters by kind, once each
        self._again: dict[str, int] = {}

    def new_in(self, again: Again, first: str) -> str:
        """What is new in `again.text`; `first` is the text of the same event that was told for the first time."""
        kind, text, of_all = again
        came = self._came.get(kind, 0)
        if first:
            self._came[kind] = came = came + len(first)
        if not text:  # as in most events
            return ""
        self._again[kind] = len(text) + (self._again.get(kind, 0) if kind else 0)
        missing = self._again[kind] - (sum(self._came.values()) if of_all else came)
        new = text[-missing:] if missing > 0 else ""
        self._came[kind] = came + len(new)
        return new
