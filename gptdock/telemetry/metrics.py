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

# https://github.com/open-telemetry/semantic-conventions-genai: client-inference.md and gen-ai-token-metrics.md, both
# "development". OpenAI does not say how many of a prompt's tokens are text or images, so their modality is unknown.
_INFERENCE = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"]
_TOKEN_USAGE = [*_INFERENCE, "gen_ai_token_modality"]
_USAGE = "gen_ai_client_inference_usage"
_FIRST_CHUNK = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_OPERATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
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
TOKENS_CHARGED.labels("lost")  # from the start, or Prometheus does not see the first increase
LOOP_LAG = Histogram("gptdock_loop_lag_seconds", "How late the event loop was, measured twice a second.", buckets=_LAG)
FIRST_CHUNK = Histogram(
    "gen_ai_client_inference_time_to_first_chunk_seconds",
    "From the hold of a streamed request to its first event.",
    _INFERENCE,
    buckets=_FIRST_CHUNK,
)
DURATION = Histogram(
    "gen_ai_client_inference_duration_seconds",
    "From a hold to the end of its answer.",
    [*_INFERENCE, "error_type"],
    buckets=_OPERATION,
)
INPUT_TOKENS = Counter(f"{_USAGE}_input_tokens", "Tokens of prompts that were charged.", _TOKEN_USAGE)
OUTPUT_TOKENS = Counter(f"{_USAGE}_output_tokens", "Tokens of answers that were charged.", _TOKEN_USAGE)
CACHED_TOKENS = Counter(f"{_USAGE}_cache_read_input_tokens", "Those of prompts that a cache had.", _TOKEN_USAGE)
REASONING_TOKENS = Counter(f"{_USAGE}_reasoning_output_tokens", "Those of answers that were thought.", _TOKEN_USAGE)
_TOKEN_COUNTERS = (INPUT_TOKENS, OUTPUT_TOKENS, CACHED_TOKENS, REASONING_TOKENS)


@functools.cache
def of(metric: Metric, *labels: str) -> Metric:
    """The child of `metric` with these label values; prometheus_client looks it up under a lock, 1 us each time."""
    return metric.labels(*labels)


def first_chunk(operation: str, model: str, seconds: float) -> None:
    """The first event of a stream is sent; the operation is as OpenTelemetry names it: `chat`, `embeddings`."""
    _of_inference(FIRST_CHUNK, operation, model).observe(seconds)


def inference_ended(operation: str, model: str, outcome: str, seconds: float) -> None:
    """An answer ended, with this outcome of its request."""
    _of_inference(DURATION, operation, model, "" if outcome == "complete" else outcome).observe(seconds)


def count_tokens(operation: str, model: str, *tokens: int) -> None:
    """Count what one request was charged: tokens of the prompt and the answer, and what was cached and thought."""
    for child, number in zip(_token_counters(operation, model), tokens, strict=True):
        if number:  # seldom is anything cached or thought, and to add 0 takes as long as to add 1
            child.inc(number)


@functools.cache
def _token_counters(operation: str, model: str) -> tuple[Counter, ...]:
    return tuple(_of_inference(counter, operation, model, "unknown") for counter in _TOKEN_COUNTERS)


def _of_inference(metric: Metric, operation: str, model: str, *more: str) -> Metric:
    child: Metric = of(metric, operation, "openai", model, *more)
    return child


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
