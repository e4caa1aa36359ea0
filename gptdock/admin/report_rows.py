"""Pure: what was used, from receipts: which of them a report is about, the rows that they make, a row as a line of CSV.

The tokens of all rows are those of all receipts: also of such as no single request stands behind, which count as no
request. A receipt belongs to where its own label starts with what was asked: to the period that it was charged in, or,
where that says too little (`all`, or a month if a day was asked), to the time in its key.
"""

import csv
import io
import operator
import re
from collections.abc import Iterator
from typing import Any, Literal

from gptdock.ledger.book import Receipt, Source

By = Literal["day", "user", "request"]
Row = tuple[Any, ...]  # texts and numbers as COLUMNS names them; the last is tokens

_SUMS = ("requests", "prompt_tokens", "completion_tokens", "tokens")
_NOTHING = (0,) * len(_SUMS)
COLUMNS: dict[By, tuple[str, ...]] = {
    "day": ("day", *_SUMS),
    "user": ("user", *_SUMS),
    "request": ("time", "request_id", "user", "model", "source", "outcome", *_SUMS[1:]),
}
RUN = 2000  # rows that are sorted at once: 2 ms
_OF_A_LEASE: frozenset[Source] = frozenset({"lost", "late"})
_OF_NO_REQUEST: frozenset[Source] = _OF_A_LEASE | {"set_quota", "reset"}
_FORMULA = re.compile(r"[=+@-](?s:.+)")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def belongs(period: str, receipt: Receipt, asked: str) -> bool:
    """Whether a receipt of this period is part of what was asked: `all`, a month or a day."""
    return asked == "all" or _label(period, receipt, len(asked)).startswith(asked)


class Sums:
    """The receipts of each day, or of each user, added up."""

    def __init__(self, by: By) -> None:
        self._by = by
        self._sums: dict[str, tuple[int, ...]] = {}  # tuples of numbers, which the garbage collector leaves alone

    def add(self, period: str, receipt: Receipt) -> None:
        """Count this receipt, of this period."""
        name = receipt.user if self._by == "user" else _label(period, receipt, len("2026-11-23"))[:10]
        requests = receipt.source not in _OF_NO_REQUEST
        counts = (requests, receipt.prompt_tokens, receipt.completion_tokens, receipt.tokens)
        self._sums[name] = tuple(map(operator.add, self._sums.get(name, _NOTHING), counts))

    def runs(self) -> Iterator[list[Row]]:
        """A row for each, a few at a time and these in order; users may be too many to sort them at once.

        Nothing is counted any more after it.
        """
        while self._sums:
            items = (self._sums.popitem() for _ in range(min(RUN, len(self._sums))))
            yield sorted(((name, *sums) for name, sums in items), key=self.place)

    def place(self, row: Row) -> tuple[int, str]:
        """Where it comes: days in their order, users with most tokens first."""
        return (-row[-1] if self._by == "user" else 0, row[0])


def row(receipt: Receipt) -> Row:
    """One receipt by itself."""
    time, _, rest = receipt.key.partition("#")
    request_id = "-" if receipt.source in _OF_A_LEASE else rest.rpartition("#")[0]  # which may hold a # itself
    who = (time, request_id, receipt.user, receipt.model, receipt.source, receipt.outcome)
    return (*who, receipt.prompt_tokens, receipt.completion_tokens, receipt.tokens)


def csv_line(cells: Row) -> str:
    """The row as CSV; what a spreadsheet would take for a formula gets a ' in front, since ids come from callers."""
    line = io.StringIO()
    csv.writer(line).writerow([f"'{cell}" if _is_formula(cell) else cell for cell in cells])
    return line.getvalue()


def _is_formula(cell: Any) -> bool:
    return isinstance(cell, str) and bool(_FORMULA.fullmatch(cell)) and not _NUMBER.fullmatch(cell)


def _label(period: str, receipt: Receipt, length: int) -> str:
    return period if period != "all" and len(period) >= length else receipt.key
