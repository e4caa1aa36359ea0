"""Asks a server on loopback, on bare protocols, and tallies what comes back.

In a `burst`, so many callers ask one request after the other. `streams` begin at a fixed rate; their times count from
when each was due, so that a server which stands still cannot hide it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from tests.long.bench.answers import Answer

MOST_REQUESTS = 200_000  # in one burst, however quick the server is
MOST_ERRORS = 1000  # after which nobody connects anew
LAST_ANSWERS_SECONDS = 10.0


class Question(NamedTuple):
    """A request as it is sent, and how many tokens its stream must have; 0: it is answered by JSON."""

    raw: bytes
    tokens: int


@dataclass(slots=True)
class Tally:
    """What came of the requests; `first_ms` has the times to the first token."""

    asked: int = 0
    answered: int = 0  # as they should be, to the end
    events: int = 0
    begun: int = 0  # streams whose first token came
    first_ms: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)  # by status and code
    errors: int = 0  # no answer
    truncated: int = 0  # the connection ended within an answer
    incomplete: int = 0  # a stream without all its tokens or [DONE]
    unfinished: int = 0  # not over in time
    hung_up: int = 0  # by us, within an answer

    def faults(self) -> dict[str, int]:
        """What was not perfect, by its name."""
        names = ("errors", "truncated", "incomplete", "unfinished")
        return self.refused | {name: count for name in names if (count := getattr(self, name))}

    @property
    def over(self) -> int:
        """Requests that nothing more comes of."""
        return self.answered + self.refused.total() + self.errors + self.truncated + self.incomplete


class Caller(asyncio.Protocol):
    """One connection, on which one request after the other is asked."""

    transport: asyncio.Transport
    question: Question
    due_at: float

    def __init__(self, tally: Tally, over: Callable[["Caller", bool], None]) -> None:
        self._tally, self._over = tally, over
        self._answer: Answer | None = None
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server accepted."""
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, question: Question, due_at: float) -> None:
        """Ask; `over` is called with whether the connection can be used again, once nothing more comes."""
        self._tally.asked += 1
        self.question, self.due_at, self._answer, self._begun = question, due_at, Answer(), False
        self.transport.write(question.raw)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        answer = self._answer
        if answer is None:
            return
        before = answer.events
        is_over = answer.feed(data)
        self._tally.events += answer.events - before
        if not self._begun and answer.texts > 1:
            self._begin()
        if is_over:
            self._end(answer)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The server closed, or we did."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self._tally.truncated += answer.status > 0
            self._tally.errors += answer.status == 0
            self._over(self, False)

    def hang_up(self) -> None:
        """Close, whatever is to come."""
        self._tally.hung_up += self._answer is not None
        self._answer = None
        self.transport.abort()

    def _begin(self) -> None:
        self._begun = True
        self._tally.begun += 1
        self._tally.first_ms.append((time.monotonic() - self.due_at) * 1000)

    def _end(self, answer: Answer) -> None:
        self._answer = None
        if answer.status != 200:
            self._tally.refused[answer.refusal] += 1
        elif self.question.tokens and not (answer.is_done and answer.texts == self.question.tokens + 1):
            self._tally.incomplete += 1
        else:
            self._tally.answered += 1
        self._over(self, not answer.closes)


class Load:
    """What is asked of one server; `tally` tells what came of it."""

    def __init__(self, port: int, questions: Iterator[Question]) -> None:
        self.tally = Tally()
        self._port, self._questions = port, questions
        self._callers: set[Caller] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def burst(self, callers: int) -> AsyncIterator[None]:
        """So many callers ask meanwhile; what they asked last is awaited."""
        self._again = True
        try:
            for _ in range(callers):
                self._connect()
            yield
            self._again = False
            await self.over(LAST_ANSWERS_SECONDS)
        finally:
            self._hang_up()

    @asynccontextmanager
    async def streams(self, count: int, per_second: float) -> AsyncIterator[None]:
        """So many begin meanwhile, on a connection each; whatever is open at the end is hung up."""
        self._again, loop = False, asyncio.get_running_loop()
        now = time.monotonic()
        timers = [loop.call_later(k / per_second, self._connect, now + k / per_second) for k in range(count)]
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
            self._hang_up()

    async def over(self, seconds: float, requests: int | None = None) -> None:
        """Wait until so many requests, or all that were asked, are over; for so long, and the rest is unfinished."""
        await self._reached(lambda: self.tally.over >= (requests or self.tally.asked), seconds)
        self.tally.unfinished = max(0, (requests or self.tally.asked) - self.tally.over)

    async def begun(self, seconds: float, streams: int) -> None:
        """Wait until so many streams have begun; for so long, and the rest is unfinished."""
        await self._reached(lambda: self.tally.begun + self.tally.over >= streams, seconds)
        self.tally.unfinished = max(0, streams - self.tally.begun - self.tally.over)

    async def _reached(self, is_enough: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while not is_enough() and time.monotonic() < until:  # noqa: ASYNC110  # to ask for each answer would cost more
            await asyncio.sleep(0.02)

    def _connect(self, due_at: float | None = None) -> None:
        task = asyncio.create_task(self._begin(due_at))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, due_at: float | None) -> None:
        def caller() -> Caller:
            return Caller(self.tally, self._next)

        try:
            _, connected = await asyncio.get_running_loop().create_connection(caller, "127.0.0.1", self._port)
        except OSError:
            self.tally.asked += 1
            self.tally.errors += 1
            return
        self._callers.add(connected)
        self._ask(connected, time.monotonic() if due_at is None else due_at)

    def _ask(self, caller: Caller, due_at: float) -> None:
        caller.ask(next(self._questions), due_at)

    def _next(self, caller: Caller, usable: bool) -> None:
        again = self._again and self.tally.asked < MOST_REQUESTS
        if again and usable:
            self._ask(caller, time.monotonic())
            return
        self._callers.discard(caller)
        caller.hang_up()
        if again and self.tally.errors < MOST_ERRORS:
            self._connect()

    def _hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        for caller in self._callers:
            caller.hang_up()
        self._callers.clear()
