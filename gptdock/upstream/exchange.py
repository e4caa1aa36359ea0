"""What one request may have made the upstream generate: whether, and for how long without our seeing it."""

import time

import aiohttp
from aiohttp.abc import AbstractStreamWriter


class Exchange:
    """What one request may have made the upstream generate, over all its tries."""

    def __init__(self) -> None:
        self._lost = False
        self._seconds = 0.0
        self._since: float | None = None

    @property
    def may_have_generated(self) -> bool:
        """Whether a try is under way, or was lost."""
        return self._lost or self._since is not None

    @property
    def seconds(self) -> float:
        """How long the upstream may have generated without our seeing it."""
        return self._seconds + (time.monotonic() - self._since if self._since is not None else 0.0)

    def begin(self) -> None:
        """A try is being sent."""
        self._since = time.monotonic()

    def refused(self) -> None:
        """The try was not sent, or answered by a refusal: nothing was generated."""
        self._since = None

    def lost(self) -> None:
        """The try broke off unanswered, after it was sent or before."""
        self._seconds, self._lost, self._since = self.seconds, self.may_have_generated, None


class Body(aiohttp.BytesPayload):
    """The body of a try. Before aiohttp has a connection to write it to, nothing can be generated."""

    def __init__(self, value: bytes, exchange: Exchange) -> None:
        super().__init__(value, content_type="application/json")
        self._exchange = exchange

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._exchange.begin()
        await super().write_with_length(writer, content_length)
