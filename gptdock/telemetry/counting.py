"""Counters and histograms that cost little to update, in families that prometheus_client exposes.

Its own take a lock and up to eight Python calls for each update, 3 % of the CPU of a request. These take one call and
no lock: all of a process are updated and read by the thread of its event loop.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add this. Raises ValueError if it is negative."""
        if amount < 0:
            raise ValueError("a counter only grows")
        self.value += amount


class Histogram:
    """How many amounts were up to each of the bounds, which are sorted, and how many were above; and their sum."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, amount: float) -> None:
        """Count this amount."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self.sum += amount

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """For each bound, then for `+Inf`, how many amounts are not above it."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


Child = TypeVar("Child", Counter, Histogram)


class _Family(ABC, Generic[Child]):
    """All of one name: one for each combination of label values, exposed from the first look-up on."""

    def __init__(
        self, name: str, help_text: str, labels: Sequence[str] = (), registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._name, self._help, self._labels = name, help_text, labels
        self._children: dict[tuple[str, ...], Child] = {}
        registry.register(self)

    def labels(self, *values: str) -> Child:
        """The one with these label values, made by the first call. Raises ValueError unless each label has one."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name} has the labels {', '.join(self._labels)}")
            child = self._children[values] = self._new()
        return child

    @abstractmethod
    def collect(self) -> Iterator[Metric]:
        """What prometheus_client exposes."""

    @abstractmethod
    def _new(self) -> Child: ...


class Counters(_Family[Counter]):
    """Counters of one name, which is exposed with `_total` behind it."""

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for values, counter in self._children.items():
            family.add_metric(values, counter.value)
        yield family

    def _new(self) -> Counter:
        return Counter()


class Histograms(_Family[Histogram]):
    """Histograms of one name and with the same bounds, which are sorted."""

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: Sequence[str] = (),
        registry: CollectorRegistry = REGISTRY,
        *,
        bounds: Sequence[float],
    ) -> None:
        self._bounds = bounds
        super().__init__(name, help_text, labels, registry)

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for values, histogram in self._children.items():
            family.add_metric(values, histogram.buckets, histogram.sum)
        yield family

    def _new(self) -> Histogram:
        return Histogram(self._bounds)
