"""What people see of a command: aligned tables on stdout, and on stderr how far it is."""

import sys
from collections.abc import AsyncIterator
from typing import TypeVar

EVERY = 100  # things between two counts

Thing = TypeVar("Thing")


class Table:
    """A head and rows below it: `client:<20` is a column of texts, 20 wide, `max:>12` one of numbers."""

    def __init__(self, columns: str) -> None:
        names, forms = zip(*(column.split(":") for column in columns.split()), strict=True)
        self._line = " ".join(f"{{:{form}}}" for form in forms).format
        self.row(*names)

    def row(self, *cells: object) -> None:
        """Print these cells, each in its column."""
        print(self._line(*cells).rstrip())


async def counted(things: AsyncIterator[Thing]) -> AsyncIterator[Thing]:
    """The same things, with a count of them that is rewritten, for somebody who waits at a terminal."""
    if not sys.stderr.isatty():
        async for thing in things:
            yield thing
        return
    count = 0
    async for thing in things:
        yield thing
        count += 1
        if count % EVERY == 0:
            sys.stderr.write(f"\r{count} read")
            sys.stderr.flush()
    sys.stderr.write("\r\033[K")
