"""What the loop of a book is given for all its requests and for each, and what it gives back, as values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gptdock.ledger.book import Book, Terms
from gptdock.ledger.clock import Clock
from gptdock.ledger.rates import Pace

Admission = tuple[int, Book]  # a hold that is in the book: its tokens, and the book as the commit left it


class Outlook(Protocol):
    """What a request may have used by its next renewal: a hold. `pace` knows how soon that must be written anew. Logs
    name it by `request_id`.
    """

    pace: Pace
    request_id: str

    def will(self, seconds: float, /) -> int:
        """What to charge for it, in tokens, if its process is lost within so many seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """What all loops of a process share: its id, its commit numbers, the time, and the terms of its leases."""

    process: str
    numbers: Iterator[int]
    clock: Clock
    lease_seconds: int
    progress_seconds: float
    default_max: int

    def terms(self) -> Terms:
        """What the next commit is decided with."""
        return Terms(next(self.numbers), self.clock.latest(), self.lease_seconds)
