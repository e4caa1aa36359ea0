"""Aligned tables on stdout, and a progress count on stderr."""

import sys
from collections.abc import AsyncIterator
from typing import TypeVar

EVERY = 100  # items between two counts

Item = TypeVar("Item")


class Table:
    """Prints a line of column names, then rows. `client:<20` is a column of text, 20 wide; `max:>12` of numbers."""

    def __init__(self, columns: str) -> None:
        names, forms = zip(*(column.split(":") for column in columns.split()), strict=True)
        self._line = " ".join(f"{{:{form}}}" for form in forms).format
        self.row(*names)

    def row(self, *cells: object) -> None:
        print(self._line(*cells).rstrip())


async def counted(items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """The same items; if stderr is a terminal, a count of them is shown there until the last one."""
    if not sys.stderr.isatty():
        async for item in items:
            yield item
        return
    count = 0
    async for item in items:
        yield item
        count += 1
        if count % EVERY == 0:
            sys.stderr.write(f"\r{count} read")
            sys.stderr.flush()
    sys.stderr.write("\r\033[K")
