"""What one request may have made the upstream generate: whether anything, and for how many unseen seconds."""

import time

import aiohttp
from aiohttp.abc import AbstractStreamWriter


class Exchange:
    """What one request may have made the upstream generate, over all its attempts."""

    def __init__(self) -> None:
        self.is_heard = False  # the head of a stream came: its text shows as soon as it is written
        self._lost = False
        self._seconds = 0.0
        self._since: float | None = None

    @property
    def may_have_generated(self) -> bool:
        """Whether an attempt is under way, or was lost."""
        return self._lost or self._since is not None

    @property
    def seconds(self) -> float:
        """Seconds during which the upstream may have generated tokens that did not arrive."""
        return self._seconds + (time.monotonic() - self._since if self._since is not None else 0.0)

    def begin(self) -> None:
        """An attempt is being sent."""
        self._since = time.monotonic()

    def refused(self) -> None:
        """The attempt was not sent, or was refused: nothing was generated."""
        self._since = None

    def lost(self) -> None:
        """The attempt broke off without an answer, before or after it was sent."""
        self._seconds, self._lost, self._since = self.seconds, self.may_have_generated, None


class Body(aiohttp.BytesPayload):
    """The body of an attempt. Until aiohttp has a connection and writes it, nothing can be generated."""

    def __init__(self, value: bytes, exchange: Exchange) -> None:
        super().__init__(value, content_type="application/json")
        self._exchange = exchange

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._exchange.begin()
        await super().write_with_length(writer, content_length)
