"""How many completions may be open at once, and until when."""

import asyncio
from types import TracebackType
from typing import Any

from gptdock.errors import Draining, Overloaded, UpstreamTimeout


class Gate:
    """The open completions of this process; `cut` ends them all."""

    def __init__(self, most: int, request_timeout: float) -> None:
        self.is_cut = False
        self._most, self._request_timeout = most, request_timeout
        self._open: set[asyncio.Task[Any]] = set()
        self._due: dict[asyncio.Timeout, float] = {}  # all have the same time, so the first is due first
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> int:
        """How many completions are open."""
        return len(self._open)

    def passed(self) -> "Passage":
        """A block in which a completion is open. Entering it raises Overloaded at MAX_STREAMS."""
        return Passage(self)

    def deadline(self) -> "Deadline":
        """A block that is ended by UpstreamTimeout after REQUEST_TIMEOUT, by Draining once `cut` is called."""
        return Deadline(self)

    def enter(self) -> asyncio.Task[Any]:
        """Count the current task as an open completion. Raises Overloaded."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= self._most:
            raise Overloaded(f"{self._most} completions are open, the most for this process. Try again in a moment.")
        self._open.add(task)
        return task

    def leave(self, task: asyncio.Task[Any]) -> None:
        """The completion of this task is over."""
        self._open.discard(task)

    def begin(self, scope: asyncio.Timeout) -> None:
        """Let this scope expire after REQUEST_TIMEOUT, unless it ends first."""
        loop = asyncio.get_running_loop()
        self._due[scope] = loop.time() + self._request_timeout
        if self.is_cut:
            _expire(scope)
        elif self._timer is None:
            self._timer = loop.call_at(self._due[scope], self._look)

    def end(self, scope: asyncio.Timeout) -> None:
        """This scope is over."""
        self._due.pop(scope, None)

    def cut(self) -> None:
        """End all completions that are open."""
        self.is_cut = True
        for scope in self._due:
            _expire(scope)

    def cancel(self) -> None:
        """Cancel the completions that a cut did not end, because their callers do not read."""
        for task in self._open:
            task.cancel()

    def _look(self) -> None:
        """One timer for all deadlines: to arm and cancel one for each request would cost 4 us of it."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for scope, due_at in self._due.items():
            if due_at > loop.time():
                self._timer = loop.call_at(due_at, self._look)
                return
            _expire(scope)


class Passage:
    """See Gate.passed."""

    __slots__ = ("_gate", "_task")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __enter__(self) -> None:
        self._task = self._gate.enter()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._gate.leave(self._task)


class Deadline:
    """See Gate.deadline."""

    __slots__ = ("_gate", "_scope")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __aenter__(self) -> None:
        self._scope = asyncio.Timeout(None)
        await self._scope.__aenter__()
        self._gate.begin(self._scope)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._gate.end(self._scope)
        try:
            await self._scope.__aexit__(kind, exc, tb)
        except TimeoutError as late:
            raise Draining if self._gate.is_cut else UpstreamTimeout from late


def _expire(scope: asyncio.Timeout) -> None:
    if not scope.expired():
        scope.reschedule(asyncio.get_running_loop().time())
