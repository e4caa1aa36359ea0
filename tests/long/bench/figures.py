"""What a row finds, and how it measures a server: between two moments, while it answers."""

import math
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.long.bench.load import Tally
from tests.long.bench.systems import Server


@dataclass
class Figures:
    """What one row found for one server: values by name, and how often what was not perfect."""

    values: dict[str, float] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    skipped: str = ""  # why it was not measured
    world_share: float = 0.0  # of its core, that upstream, store and callers used at most
    others_share: float = 0.0  # of the server's core, that other programs used at most

    def note(self, tally: Tally) -> None:
        """Take over what went wrong."""
        self.faults.update(tally.faults())


class Meter:
    """What a server uses from now on, for what it answers from now on; NaN if that is nothing."""

    def __init__(self, server: Server, tally: Tally, figures: Figures) -> None:
        self._server, self._tally, self._figures = server, tally, figures
        self._calls = server.store.calls.copy()
        self._events, self._answered = tally.events, tally.answered
        self._cpu, self._others_cpu = server.cpu_seconds(), server.others_cpu_seconds()
        self._world_cpu, self._begun_at = time.process_time(), time.monotonic()

    def us_a_request(self) -> float:
        """CPU, in microseconds."""
        return self._cpu_us() / (self._tally.answered - self._answered or math.nan)

    def us_an_event(self) -> float:
        """CPU, in microseconds."""
        return self._cpu_us() / (self._tally.events - self._events or math.nan)

    def calls_a_request(self, *operations: str) -> float:
        """Calls of these operations of DynamoDB."""
        calls = sum(self._server.store.calls[name] - self._calls[name] for name in operations)
        return calls / (self._tally.answered - self._answered or math.nan)

    def _cpu_us(self) -> float:
        seconds, figures = time.monotonic() - self._begun_at, self._figures
        figures.world_share = max(figures.world_share, (time.process_time() - self._world_cpu) / seconds)
        others = self._server.others_cpu_seconds() - self._others_cpu
        figures.others_share = max(figures.others_share, others / seconds)
        return (self._server.cpu_seconds() - self._cpu) * 1e6


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything: 1 for a measurement, less for a test."""

    factor: float = 1.0

    def count(self, full: int) -> int:
        """So many, and at least 2."""
        return max(2, round(full * self.factor))

    def seconds(self, full: float) -> float:
        """So long, and at least a tenth of a second."""
        return max(0.1, full * self.factor)


def percentile(values: list[float], part: float) -> float:
    """The value that this part of all values is not above; NaN without values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else math.nan
