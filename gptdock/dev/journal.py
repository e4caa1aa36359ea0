"""What the simulated OpenAI was asked and what it generated: charges are compared with this."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Record:
    """One request, and how much of its answer was sent."""

    id: str
    model: str
    user: str | None
    request: dict[str, Any]
    prompt_tokens: int
    status: int = 0  # 0: no response headers yet
    events: int = 0  # written
    generated: int = 0  # tokens of the answer, each counted just before its event is complete
    embedded: int = 0  # texts
    usage: Any = None  # as reported
    completed: bool = False  # the whole answer was sent
    aborted: bool = False  # the peer left before the answer was complete
    open: bool = True

    @property
    def spent(self) -> int:
        """Prompt and generated tokens; 0 if nothing was generated or embedded."""
        return self.prompt_tokens + self.generated if self.generated or self.embedded else 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"spent": self.spent}


class Journal(list[Record]):
    """All records in the order of arrival. Each wait raises TimeoutError after its `seconds`, 60 by default."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def changed(self) -> None:
        """Wake the waits whose condition now holds. Call it after each change of a record."""
        for happened, waiter in self._waiting:
            if not waiter.done() and happened():
                waiter.set_result(None)

    async def until(self, happened: Callable[[], bool], *, seconds: float = 60) -> None:
        """Wait until `happened()` is true. Raises TimeoutError after `seconds`."""
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
        """Wait until `count` requests have arrived; return the record of the last."""
        await self.until(lambda: len(self) >= count)
        return self[count - 1]

    async def sent(self, events: int, record: Record | None = None) -> Record:
        """Wait until `events` events of `record`, or of any record, were written; return that record."""
        records = self if record is None else [record]
        await self.until(lambda: any(each.events >= events for each in records))
        return next(each for each in records if each.events >= events)

    async def ended(self, count: int = 1) -> list[Record]:
        """Wait until `count` requests have ended in any way; return all records that have."""
        await self.until(lambda: sum(not record.open for record in self) >= count)
        return [record for record in self if not record.open]

    async def left(self, count: int = 1) -> list[Record]:
        """Wait until `count` peers have left before the end of their answers; return all such records."""
        await self.until(lambda: sum(record.aborted for record in self) >= count)
        return [record for record in self if record.aborted]
