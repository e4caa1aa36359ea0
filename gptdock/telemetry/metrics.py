"""The metrics of a process, for Prometheus; each module updates those of its own work.

Names follow OpenTelemetry's conventions for generative AI where one exists; all others begin with `gptdock_`.
"""

import functools
from asyncio import CancelledError
from time import monotonic
from typing import Self, TypeVar

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, generate_latest

disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Metric = TypeVar("Metric", Counter, Histogram)

# The first three follow OpenTelemetry's conventions for generative AI (tokens only up to 2**20).
_FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_OPERATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_CALL = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LAG = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128)

REQUESTS = Counter("gptdock_requests", "Requests that ended, by route and outcome.", ["route", "outcome"])
TOKENS_CHARGED = Counter("gptdock_tokens_charged", "Tokens charged, by source of the number.", ["source"])
HOLDS_OPEN = Gauge("gptdock_holds_open", "Requests that hold tokens of a quota.")
STREAMS_OPEN = Gauge("gptdock_streams_open", "Open answers, whole or streamed; MAX_STREAMS is their limit.")
SETTLES_PENDING = Gauge("gptdock_settles_pending", "Requests that ended and are not yet settled in DynamoDB.")
RECEIPTS_PENDING = Gauge("gptdock_receipts_pending", "Receipts that are charged and not yet put into the usage table.")
CLOCK_SKEW = Gauge("gptdock_clock_skew_seconds", "How far the machine's clock is ahead of DynamoDB's.")
COMMIT_REQUESTS = Histogram("gptdock_commit_requests", "Requests that one commit held or settled.", buckets=_BATCH)
UPSTREAM = Histogram(
    "gptdock_upstream_seconds", "From sending an attempt to its response headers.", ["outcome"], buckets=_OPERATION
)
DYNAMODB = Histogram("gptdock_dynamodb_seconds", "Calls to DynamoDB.", ["operation", "outcome"], buckets=_CALL)
LOOP_LAG = Histogram("gptdock_loop_lag_seconds", "How late the event loop was, measured twice a second.", buckets=_LAG)
FIRST_TOKEN = Histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "From a streamed request to its first event.",
    ["gen_ai_request_model"],
    buckets=_FIRST_TOKEN,
)
DURATION = Histogram(
    "gen_ai_server_request_duration_seconds",
    "From a hold to the end of its answer.",
    ["gen_ai_request_model", "outcome"],
    buckets=_OPERATION,
)
TOKEN_USAGE = Histogram(
    "gen_ai_client_token_usage",
    "Tokens of a completion that was charged.",
    ["gen_ai_request_model", "gen_ai_token_type"],
    buckets=_TOKENS,
)


@functools.cache
def of(metric: Metric, *labels: str) -> Metric:
    """The child of `metric` with these label values; prometheus_client looks it up under a lock, 1 us each time."""
    return metric.labels(*labels)


class Timed:
    """Times what is within; its last label is the outcome: as set, `ok`, `cancelled`, or the class that was raised."""

    __slots__ = ("_began", "_histogram", "_labels", "outcome")

    def __init__(self, histogram: Histogram, *labels: str) -> None:
        self._histogram, self._labels, self.outcome = histogram, labels, ""

    def __enter__(self) -> Self:
        self._began = monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: object) -> None:
        if kind is not None:
            self.outcome = "cancelled" if issubclass(kind, CancelledError) else self.outcome or kind.__name__
        of(self._histogram, *self._labels, self.outcome or "ok").observe(monotonic() - self._began)


def exposition() -> bytes:
    """All metrics, in Prometheus's text format."""
    return generate_latest()
