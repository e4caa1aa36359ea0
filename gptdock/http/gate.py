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
        self._due: dict[Deadline, float] = {}  # all have the same time, so the first is due first
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

    def begin(self, deadline: "Deadline") -> None:
        """Let it expire after REQUEST_TIMEOUT, unless it ends first. Raises Draining once `cut` was called."""
        if self.is_cut:
            raise Draining
        loop = asyncio.get_running_loop()
        self._due[deadline] = due_at = loop.time() + self._request_timeout
        if self._timer is None:
            self._timer = loop.call_at(due_at, self._look)

    def end(self, deadline: "Deadline") -> None:
        """This one is over."""
        self._due.pop(deadline, None)

    def has(self, deadline: "Deadline") -> bool:
        """Whether it is not over."""
        return deadline in self._due

    def cut(self) -> None:
        """End all completions that are open."""
        self.is_cut = True
        for deadline in self._due:
            deadline.expire()

    def cancel(self) -> None:
        """Cancel the completions that a cut did not end, because their callers do not read."""
        for task in self._open:
            task.cancel()

    def _look(self) -> None:
        """One timer for all deadlines: to arm and cancel one for each request would cost 4 us of it."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for deadline, due_at in self._due.items():
            if due_at > loop.time():
                self._timer = loop.call_at(due_at, self._look)
                return
            deadline.expire()


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
    """See Gate.deadline. It tells its own cancellation from others' as asyncio.Timeout does, and costs half of it."""

    __slots__ = ("_cancelling", "_gate", "_is_expired", "_task")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling, self._is_expired = task, task.cancelling(), False
        self._gate.begin(self)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._gate.end(self)
        if not self._is_expired:
            return
        is_ours = self._task.uncancel() <= self._cancelling  # or somebody else wants the task to end, too
        if is_ours and isinstance(exc, asyncio.CancelledError):
            raise Draining if self._gate.is_cut else UpstreamTimeout

    def expire(self) -> None:
        """Cancel what is within, unless it ends in this turn of the loop: its answer may be there already."""
        asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        if self._gate.has(self) and not self._is_expired:
            self._is_expired = True
            self._task.cancel()
