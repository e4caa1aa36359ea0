"""What all loops of a process share."""

from collections.abc import Iterator
from dataclasses import dataclass

from gptdock.ledger.book import Terms
from gptdock.ledger.clock import Clock


@dataclass(frozen=True, slots=True)
class Rules:
    """Its id, its commit numbers, the time, and the terms of its leases."""

    process: str
    numbers: Iterator[int]
    clock: Clock
    lease_seconds: int
    progress_seconds: float
    default_max: int

    def terms(self) -> Terms:
        """What the next commit is decided with."""
        return Terms(next(self.numbers), self.clock.latest(), self.lease_seconds)
