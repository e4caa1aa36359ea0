"""Pure: the rows of a usage report: which receipts belong to it, how they are summed, and a row as a line of CSV.

The tokens of all rows sum to the tokens of all receipts, including receipts that stand for no single request (an
operator's change, the charge for a dead process); these count as 0 requests. A receipt belongs to the period that it
was charged in. If that is less precise than the report's period (`all`, or a month in a report of a day), the time
in the receipt's key decides.
"""

import csv
import io
import operator
import re
from collections.abc import Iterator
from typing import Any, Literal

from gptdock.accounts import Account
from gptdock.ledger.book import Receipt, Source

By = Literal["day", "user", "model", "request", "client"]
Row = tuple[Any, ...]  # texts and numbers, named by COLUMNS

_NUMBERS = ("prompt_tokens", "completion_tokens", "tokens", "cached_tokens", "reasoning_tokens")
_SUMS = ("requests", *_NUMBERS)
_TOKENS = _NUMBERS.index("tokens") - len(_NUMBERS)
_NOTHING = (0,) * len(_SUMS)
COLUMNS: dict[By, tuple[str, ...]] = {
    "day": ("day", *_SUMS),
    "user": ("user", *_SUMS),
    "model": ("model", *_SUMS),
    "client": ("client_id", "product_id", *_SUMS),
    "request": ("time", "request_id", "user", "model", "source", "outcome", *_NUMBERS),
}
OF_ONE: tuple[By, ...] = ("day", "user", "model", "request")  # what the rows of a report on one client stand for
OF_ALL: tuple[By, ...] = ("client", "model", "day", "user")  # on all clients
RUN = 2000  # rows sorted without a pause: 2 ms
_OF_A_LEASE: frozenset[Source] = frozenset({"lost", "late"})
_OF_NO_REQUEST: frozenset[Source] = _OF_A_LEASE | {"set_quota", "reset", "credit", "import", "forget"}
_OF_TIME = ("day", "time", "created_at", "resets_at")
# What a spreadsheet keeps as it is: no formula, and no number, date or truth value that it would write in another way.
_STAYS = re.compile(
    r"""[+-]?
    | 0|-?[1-9][0-9]{0,14}           # a number; of more digits, the last become zeros
    | (?=.*[a-df])[0-9a-f]{16,}      # an id of ours; with e as its only letter it could be an exponent
    | [^\W\d].*                      # what begins with a letter, but for:
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_MONTHS = "jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?"
_CHANGES = re.compile(rf"true|false|({_MONTHS}|nov(ember)?|dec(ember)?)[\s./-]?[0-9].*", re.IGNORECASE | re.DOTALL)


def belongs(period: str, receipt: Receipt, asked: str) -> bool:
    """Whether a receipt, charged in `period`, is part of a report for `asked`: `all`, a month or a day."""
    return asked == "all" or _label(period, receipt, len(asked)).startswith(asked)


def belongs_between(period: str, receipt: Receipt, since: str, until: str) -> bool:
    """Whether a receipt is part of a report for the days from `since` to `until`, both included."""
    return since <= _label(period, receipt, len("2026-11-23"))[:10] <= until


class Sums:
    """Sums of receipts, by day, user, model or client."""

    def __init__(self, by: By) -> None:
        self._by = by
        self._sums: dict[str | Account, tuple[int, ...]] = {}  # tuples of int are not tracked by the garbage collector

    def add(self, period: str, receipt: Receipt, *account: Account) -> None:
        """Count a receipt, by client as that of this account."""
        name = account[0] if self._by == "client" else self._name(period, receipt)
        counts = (receipt.source not in _OF_NO_REQUEST, *_numbers(receipt))
        self._sums[name] = tuple(map(operator.add, self._sums.get(name, _NOTHING), counts))

    def _name(self, period: str, receipt: Receipt) -> str:
        if self._by == "day":
            return _label(period, receipt, len("2026-11-23"))[:10]
        return receipt.user if self._by == "user" else receipt.model

    def runs(self) -> Iterator[list[Row]]:
        """All rows in sorted runs of at most RUN, so that a caller can pause between them and merge them by `place`.

        Empties the sums: call it once, after the last `add`.
        """
        while self._sums:
            items = (self._sums.popitem() for _ in range(min(RUN, len(self._sums))))
            yield sorted(((*_names(name), *sums) for name, sums in items), key=self.place)

    def place(self, cells: Row) -> tuple[int, str, str]:
        """The key to sort rows by: days ascending, others by tokens descending."""
        return (0 if self._by == "day" else -tokens(cells), cells[0], str(cells[1]))


def _names(name: str | Account) -> tuple[str, ...]:
    return (name,) if isinstance(name, str) else name


def row(receipt: Receipt) -> Row:
    """The row of one receipt, in a report by request."""
    time, _, rest = receipt.key.partition("#")
    request_id = "-" if receipt.source in _OF_A_LEASE else rest.rpartition("#")[0]  # a request id may contain a #
    who = (time, request_id, receipt.user, receipt.model, receipt.source, receipt.outcome)
    return (*who, *_numbers(receipt))


def tokens(cells: Row) -> int:
    """What of a row is charged."""
    charged: int = cells[_TOKENS]
    return charged


def csv_line(cells: Row, columns: tuple[str, ...] = ()) -> str:
    """The row, of these columns, as a line of CSV. A ' comes before text that a spreadsheet would not keep as it is."""
    line = io.StringIO()
    of_time = [column in _OF_TIME for column in columns] or [False] * len(cells)
    texts = [cell if exempt else _kept(cell) for cell, exempt in zip(cells, of_time, strict=True)]
    csv.writer(line).writerow(texts)
    return line.getvalue()


_numbers = operator.attrgetter(*_NUMBERS)


def _kept(cell: Any) -> Any:
    """With a ' also behind a `;`, where spreadsheets of some languages begin a new cell."""
    if not isinstance(cell, str):
        return cell
    return ";".join(part if _stays(part) else f"'{part}" for part in cell.split(";"))


def _stays(text: str) -> bool:
    return bool(_STAYS.fullmatch(text)) and not _CHANGES.fullmatch(text)


def _label(period: str, receipt: Receipt, length: int) -> str:
    return period if period != "all" and len(period) >= length else receipt.key
