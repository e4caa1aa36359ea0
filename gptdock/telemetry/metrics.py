"""The metrics of a process, for Prometheus; each module updates those of its own work.

Names follow OpenTelemetry's conventions for generative AI where one exists; all others begin with `gptdock_`.
"""

import functools
from asyncio import CancelledError
from time import monotonic
from typing import Self

from prometheus_client import Gauge, generate_latest

from gptdock.telemetry.counting import Counter, Counters, Histograms

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# https://github.com/open-telemetry/semantic-conventions-genai: client-inference.md and gen-ai-token-metrics.md, both
# "development". OpenAI does not say how many of a prompt's tokens are text or images, so their modality is unknown.
_INFERENCE = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"]
_TOKEN_USAGE = [*_INFERENCE, "gen_ai_token_modality"]
_PROVIDER = "openai"
_USAGE = "gen_ai_client_inference_usage"
_FIRST_CHUNK = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_OPERATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_CALL = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LAG = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128)

REQUESTS = Counters("gptdock_requests", "Requests that ended, by route and outcome.", ["route", "outcome"])
TOKENS_CHARGED = Counters("gptdock_tokens_charged", "Tokens charged, by source of the number.", ["source"])
HOLDS_OPEN = Gauge("gptdock_holds_open", "Requests that hold tokens of a quota.")
STREAMS_OPEN = Gauge("gptdock_streams_open", "Open answers, whole or streamed; MAX_STREAMS is their limit.")
SETTLES_PENDING = Gauge("gptdock_settles_pending", "Requests that ended and are not yet settled in DynamoDB.")
RECEIPTS_PENDING = Gauge("gptdock_receipts_pending", "Receipts that are charged and not yet put into the usage table.")
CLOCK_SKEW = Gauge("gptdock_clock_skew_seconds", "How far the machine's clock is ahead of DynamoDB's.")
COMMIT_REQUESTS = Histograms(
    "gptdock_commit_requests", "Requests that one commit held or settled.", bounds=_BATCH
).labels()
UPSTREAM = Histograms(
    "gptdock_upstream_seconds", "From sending an attempt to its response headers.", ["outcome"], bounds=_OPERATION
)
DYNAMODB = Histograms("gptdock_dynamodb_seconds", "Calls to DynamoDB.", ["operation", "outcome"], bounds=_CALL)
TOKENS_CHARGED.labels("lost")  # from the start, or Prometheus does not see the first increase
LOOP_LAG = Histograms(
    "gptdock_loop_lag_seconds", "How late the event loop was, measured twice a second.", bounds=_LAG
).labels()
FIRST_CHUNK = Histograms(
    "gen_ai_client_inference_time_to_first_chunk_seconds",
    "From the hold of a streamed request to its first event.",
    _INFERENCE,
    bounds=_FIRST_CHUNK,
)
DURATION = Histograms(
    "gen_ai_client_inference_duration_seconds",
    "From a hold to the end of its answer.",
    [*_INFERENCE, "error_type"],
    bounds=_OPERATION,
)
INPUT_TOKENS = Counters(f"{_USAGE}_input_tokens", "Tokens of prompts that were charged.", _TOKEN_USAGE)
OUTPUT_TOKENS = Counters(f"{_USAGE}_output_tokens", "Tokens of answers that were charged.", _TOKEN_USAGE)
CACHED_TOKENS = Counters(f"{_USAGE}_cache_read_input_tokens", "Those of prompts that a cache had.", _TOKEN_USAGE)
REASONING_TOKENS = Counters(f"{_USAGE}_reasoning_output_tokens", "Those of answers that were thought.", _TOKEN_USAGE)
_TOKEN_COUNTERS = (INPUT_TOKENS, OUTPUT_TOKENS, CACHED_TOKENS, REASONING_TOKENS)


def first_chunk(operation: str, model: str, seconds: float) -> None:
    """The first event of a stream is sent; the operation is as OpenTelemetry names it: `chat`, `embeddings`."""
    FIRST_CHUNK.labels(operation, _PROVIDER, model).observe(seconds)


def inference_ended(operation: str, model: str, outcome: str, seconds: float) -> None:
    """An answer ended, with this outcome of its request."""
    DURATION.labels(operation, _PROVIDER, model, "" if outcome == "complete" else outcome).observe(seconds)


def count_tokens(operation: str, model: str, *tokens: int) -> None:
    """Count what one request was charged: tokens of the prompt and the answer, and what was cached and thought."""
    for counter, number in zip(_token_counters(operation, model), tokens, strict=True):
        if number:  # seldom is anything cached or thought
            counter.inc(number)


@functools.cache
def _token_counters(operation: str, model: str) -> tuple[Counter, ...]:
    return tuple(each.labels(operation, _PROVIDER, model, "unknown") for each in _TOKEN_COUNTERS)


class Timed:
    """Times what is within; its last label is the outcome: as set, `ok`, `cancelled`, or the class that was raised."""

    __slots__ = ("_began", "_histograms", "_labels", "outcome")

    def __init__(self, histograms: Histograms, *labels: str) -> None:
        self._histograms, self._labels, self.outcome = histograms, labels, ""

    def __enter__(self) -> Self:
        self._began = monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: object) -> None:
        if kind is not None:
            self.outcome = "cancelled" if issubclass(kind, CancelledError) else self.outcome or kind.__name__
        self._histograms.labels(*self._labels, self.outcome or "ok").observe(monotonic() - self._began)


def exposition() -> bytes:
    """All metrics, in Prometheus's text format."""
    return generate_latest()
