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
    """The fields of one request's line, collected until the line is written."""

    __slots__ = ("_began", "_fields", "_level", "_unfinished")

    def __init__(self, method: str, route: str, level: int = logging.INFO) -> None:
        self._fields: dict[str, Any] = {"method": method, "route": route}
        self._level = level
        self._began = time.monotonic()
        self._unfinished = 1

    def note(self, **fields: object) -> None:
        """Add these fields; a later value replaces an earlier one."""
        self._fields.update(fields)

    def first_event(self) -> None:
        """Note that the first event of the answer is sent."""
        self.note(first_event_ms=round((time.monotonic() - self._began) * 1000, 1))

    def answered(self, outcome: str, **fields: object) -> None:
        """Note the end of the answer and its duration, with these fields and this outcome unless another was noted."""
        milliseconds = round((time.monotonic() - self._began) * 1000, 1)
        self._fields = {"outcome": outcome, **self._fields, **fields, "ms": milliseconds}
        self.finished()

    def expect(self) -> None:
        """Do not write the line until `finished` was called once more."""
        self._unfinished += 1

    def finished(self) -> None:
        """Write the line if this is the last call expected: one is for the answer, and one more for each `expect`."""
        self._unfinished -= 1
        if not self._unfinished:
            logs.write(log, self._level, SUMMARY, self._fields)
            metrics.REQUESTS.labels(str(self._fields["route"]), str(self._fields["outcome"])).inc()


_current: ContextVar[RequestLog] = ContextVar("request_log")


def begin(method: str, route: str, level: int = logging.INFO) -> RequestLog:
    """A new line for the request that this context serves from now on."""
    begun = RequestLog(method, route, level)
    _current.set(begun)
    return begun


def current() -> RequestLog:
    """The line of the request that this context serves; without one, a line that is never written."""
    return _current.get(None) or RequestLog("-", "-")
