"""How many bytes a process keeps at once of answers that may be large though they cost few tokens."""

from collections.abc import Iterator
from contextlib import contextmanager

from gptdock.errors import Overloaded

MOST_BYTES = 256 * 2**20


class Room:
    """The room of this process for large answers."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.bytes_left = most_bytes

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """A block in which an answer of `size` bytes may be kept. Entering it raises Overloaded if there is no room."""
        if size > self.bytes_left:
            raise Overloaded("Too many large answers are open in this process. Try again in a moment.")
        self.bytes_left -= size
        try:
            yield
        finally:
            self.bytes_left += size
