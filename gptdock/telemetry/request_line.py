"""The one log line of each request: written when it is answered and its charge is known, whichever comes last.

Whoever learns something about the request that is being served notes it here: it need not be handed down.
"""

import logging
import time
from contextvars import ContextVar

from gptdock.telemetry import metrics

log = logging.getLogger(__name__)


class RequestLog:
    """What is known of one request by now."""

    def __init__(self, method: str, route: str, level: int = logging.INFO) -> None:
        self._fields: dict[str, object] = {"method": method, "route": route}
        self._level = level
        self._began = time.monotonic()
        self._unfinished = 1

    def note(self, **fields: object) -> None:
        """Have these on the line; a later note of the same counts."""
        self._fields |= fields

    def first_event(self) -> float:
        """The first event of the answer goes out: after so many seconds."""
        seconds = time.monotonic() - self._began
        self.note(first_event_ms=round(seconds * 1000, 1))
        return seconds

    def answered(self, outcome: str) -> None:
        """The answer is over, with this outcome unless another was noted."""
        self._fields = {"outcome": outcome} | self._fields
        self.note(ms=round((time.monotonic() - self._began) * 1000, 1))
        self.finished()

    def expect(self) -> None:
        """Somebody else will call `finished`, too."""
        self._unfinished += 1

    def finished(self) -> None:
        """Nothing more will be noted by who calls; the last one writes the line."""
        self._unfinished -= 1
        if not self._unfinished:
            log.log(self._level, "request ended", extra=self._fields)
            metrics.REQUESTS.labels(self._fields["route"], self._fields["outcome"]).inc()


_current: ContextVar[RequestLog] = ContextVar("request_log")


def begin(method: str, route: str, level: int = logging.INFO) -> RequestLog:
    """The log of the request that is served in this context from now on."""
    begun = RequestLog(method, route, level)
    _current.set(begun)
    return begun


def current() -> RequestLog:
    """The log of the request that is served in this context; where there is none, one that is never written."""
    return _current.get(None) or RequestLog("-", "-")
