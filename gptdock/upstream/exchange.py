"""What one request may have made the upstream generate: whether anything, and for how many unseen seconds."""

import time

import aiohttp
from aiohttp.abc import AbstractStreamWriter

FREE_SECONDS = 1.0  # an attempt that broke off sooner, without a status, has hardly begun to generate


class Exchange:
    """What one request may have made the upstream generate, over all its attempts.

    `lost_attempts` broke off without a status, after more than FREE_SECONDS each and `lost_seconds` together. A stream
    `is_heard` once its head came: from then on its text shows as soon as it is written.
    """

    __slots__ = ("_refused_since", "_since", "headers", "is_heard", "lost_attempts", "lost_seconds")

    def __init__(self, traceparent: str = "") -> None:
        self.headers = {"traceparent": traceparent} if traceparent else None  # of each attempt
        self.lost_attempts, self.lost_seconds = 0, 0.0
        self.is_heard = False
        self._since: float | None = None
        self._refused_since: float | None = None

    @property
    def attempts(self) -> int:
        """How many attempts may have generated: those that were lost, and the one under way or answered."""
        return self.lost_attempts + (self._since is not None)

    @property
    def seconds(self) -> float:
        """Seconds since the attempt that is under way or answered was sent; 0 if there is none."""
        return time.monotonic() - self._since if self._since is not None else 0.0

    def begin(self) -> None:
        """An attempt is being sent."""
        self._since = time.monotonic()

    def refused(self) -> None:
        """The attempt was not sent, or was refused: nothing was generated."""
        self._refused_since, self._since = self._since, None

    def generated(self) -> None:
        """The attempt that was just refused has generated something in spite of that."""
        self._since = self._refused_since

    def lost(self) -> None:
        """The attempt broke off without a status, before or after it was sent."""
        seconds, self._since = self.seconds, None
        if seconds > FREE_SECONDS:
            self.lost_attempts += 1
            self.lost_seconds += seconds


class Body(aiohttp.BytesPayload):
    """The body of an attempt. Until aiohttp has a connection and writes it, nothing can be generated."""

    def __init__(self, value: bytes, exchange: Exchange) -> None:
        super().__init__(value, content_type="application/json")
        self._exchange = exchange

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._exchange.begin()
        await super().write_with_length(writer, content_length)
