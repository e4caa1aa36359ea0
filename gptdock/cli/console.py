"""Aligned tables on stdout, questions on stderr, and progress there."""

import os
import pwd
import sys
from collections.abc import AsyncIterator, Mapping
from io import TextIOWrapper
from typing import TypeVar

EVERY = 100  # items between two counts
BAR = 40  # characters

Item = TypeVar("Item")


class Table:
    """Prints a line of column names, then rows. `client:<20` is a column of text, 20 wide; `max:>12` of numbers.

    On a terminal, whole numbers have commas between thousands.
    """

    def __init__(self, columns: str) -> None:
        names, forms = zip(*(column.split(":") for column in columns.split()), strict=True)
        self._line = " ".join(f"{{:{form}}}" for form in forms).format
        self._for_people = sys.stdout.isatty()
        self.row(*names)

    def row(self, *cells: object) -> None:
        shown = [f"{cell:,}" if self._for_people and type(cell) is int else cell for cell in cells]
        print(self._line(*shown).rstrip())


def for_programs() -> None:
    """Write UTF-8 to stdout, whatever encoding the terminal has."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def tell(text: str) -> None:
    """Say on stderr what happens, so that stdout has only the result."""
    sys.stderr.write(f"gptdock: {text}\n")


def agreed(question: str) -> bool:
    """Whether whoever runs the command answers `yes`; no, if nobody can answer."""
    sys.stderr.write(f"{question} Type yes to go on: ")
    sys.stderr.flush()
    return sys.stdin.isatty() and sys.stdin.readline().strip().lower() in ("y", "yes")


def operator(environ: Mapping[str, str]) -> str:
    """How receipts name who runs the command; with sudo, who ran sudo."""
    return f"cli:{environ.get('SUDO_USER') or _user()}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a uid without an entry in /etc/passwd, as in some containers
        return str(os.getuid())


async def counted(items: AsyncIterator[Item], total: int = 0) -> AsyncIterator[Item]:
    """The same items; if stderr is a terminal, their count is shown there, with a bar if the `total` is known."""
    if not sys.stderr.isatty():
        async for item in items:
            yield item
        return
    count, every = 0, min(EVERY, max(1, total // BAR)) if total else EVERY
    async for item in items:
        yield item
        count += 1
        if count % every == 0:
            sys.stderr.write(f"\r{_bar(count, total) if total else f'{count:,} read'}")
            sys.stderr.flush()
    sys.stderr.write("\r\033[K")


def _bar(count: int, total: int) -> str:
    done = min(BAR, BAR * count // total)
    return f"[{'#' * done}{' ' * (BAR - done)}] {count:,} of {total:,}"
