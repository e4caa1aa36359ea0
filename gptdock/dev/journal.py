"""What the simulated OpenAI was asked and what it generated: the truth that charges are held against."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Record:
    """One request and how far its answer got."""

    id: str
    model: str
    user: str | None
    request: dict[str, Any]
    prompt_tokens: int
    status: int = 0  # 0: no head yet
    events: int = 0  # written
    generated: int = 0  # completion tokens, each counted right before it is written
    usage: Any = None  # as reported
    completed: bool = False  # answered to the end
    aborted: bool = False  # the peer left before that
    open: bool = True

    @property
    def spent(self) -> int:
        """Tokens that OpenAI spent for sure: none if it generated none."""
        return self.prompt_tokens + self.generated if self.generated else 0

    def to_json(self) -> dict[str, Any]:
        """All fields, and `spent`."""
        return asdict(self) | {"spent": self.spent}


class Journal(list[Record]):
    """All records in the order of arrival, and a way to wait for what they will say."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def changed(self) -> None:
        """Wake those whose wait is over. To be called after each change of a record."""
        for happened, waiter in self._waiting:
            if not waiter.done() and happened():
                waiter.set_result(None)

    async def until(self, happened: Callable[[], bool], *, seconds: float = 10) -> None:
        """Return once `happened()` is true; raise TimeoutError if it is not within `seconds`."""
        if happened():
            return
        entry = (happened, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(seconds):
                await entry[1]
        finally:
            self._waiting.remove(entry)

    async def arrived(self, count: int = 1) -> Record:
        """Wait until `count` requests have come; return the last of them."""
        await self.until(lambda: len(self) >= count)
        return self[count - 1]

    async def sent(self, events: int, record: Record | None = None) -> Record:
        """Wait until so many events of `record`, or of any, were written; return that record."""
        records = self if record is None else [record]
        await self.until(lambda: any(each.events >= events for each in records))
        return next(each for each in records if each.events >= events)

    async def ended(self, count: int = 1) -> list[Record]:
        """Wait until `count` requests are over, however they ended; return those that are."""
        await self.until(lambda: sum(not record.open for record in self) >= count)
        return [record for record in self if not record.open]

    async def left(self, count: int = 1) -> list[Record]:
        """Wait until `count` peers left before the end of their answers; return the records of those."""
        await self.until(lambda: sum(record.aborted for record in self) >= count)
        return [record for record in self if record.aborted]
