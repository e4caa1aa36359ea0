"""The one log line of each request, written when it is answered and its charge is known, whichever comes last.

The line belongs to the context that serves the request, so any function can note a field without being passed the line.
"""

import logging
import time
from contextvars import ContextVar
from typing import Any

from gptdock.telemetry import logs, metrics
from gptdock.telemetry.terminal import SUMMARY

log = logging.getLogger(__name__)


class RequestLog:
    """One request's line, whose `fields` are collected until it is written; a later value replaces an earlier one."""

    __slots__ = ("_began", "_level", "_unfinished", "fields")

    def __init__(self, method: str, route: str, level: int = logging.INFO) -> None:
        self.fields: dict[str, Any] = {"outcome": "", "method": method, "route": route}
        self._level = level
        self._began = time.monotonic()
        self._unfinished = 1

    def first_event(self) -> None:
        """Note that the first event of the answer is sent."""
        self.fields["first_event_ms"] = self._milliseconds()

    def answered(self, outcome: str, status: int | None = None) -> None:
        """Note the end of the answer, its status if it has one, its duration, and its outcome unless one was noted."""
        fields = self.fields
        fields["outcome"] = fields["outcome"] or outcome
        if status is not None:
            fields["status"] = status
        fields["ms"] = self._milliseconds()
        self.finished()

    def expect(self) -> None:
        """Do not write the line until `finished` was called once more."""
        self._unfinished += 1

    def finished(self) -> None:
        """Write the line if this is the last call expected: one is for the answer, and one more for each `expect`."""
        self._unfinished -= 1
        if not self._unfinished:
            logs.write(log, self._level, SUMMARY, self.fields)
            metrics.REQUESTS.labels(self.fields["route"], self.fields["outcome"]).inc()

    def _milliseconds(self) -> float:
        return round((time.monotonic() - self._began) * 10_000) / 10  # round(..., 1) takes twice as long


_current: ContextVar[RequestLog] = ContextVar("request_log")


def begin(method: str, route: str, level: int = logging.INFO) -> RequestLog:
    """A new line for the request that this context serves from now on."""
    begun = RequestLog(method, route, level)
    _current.set(begun)
    return begun


def current() -> RequestLog:
    """The line of the request that this context serves; without one, a line that is never written."""
    return _current.get(None) or RequestLog("-", "-")
