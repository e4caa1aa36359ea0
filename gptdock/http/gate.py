"""How many completions may be open at once, and until when."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gptdock.errors import Draining, Overloaded, UpstreamTimeout
from gptdock.telemetry import metrics


class Gate:
    """The open completions of this process; `cut` ends them all."""

    def __init__(self, most: int, request_timeout: float) -> None:
        self._most, self._request_timeout = most, request_timeout
        self._open: set[asyncio.Task[Any]] = set()
        self._scopes: set[asyncio.Timeout] = set()
        self._is_cut = False

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """A completion is open. Raises Overloaded at MAX_STREAMS."""
        if len(self._open) >= self._most:
            raise Overloaded
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with metrics.STREAMS_OPEN.track_inprogress():
                yield
        finally:
            self._open.discard(task)

    @asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        """Ends what is within: with UpstreamTimeout after REQUEST_TIMEOUT, with Draining once `cut` is called."""
        try:
            async with asyncio.timeout(0 if self._is_cut else self._request_timeout) as scope:
                self._scopes.add(scope)
                try:
                    yield
                finally:
                    self._scopes.discard(scope)
        except TimeoutError as exc:
            raise Draining if self._is_cut else UpstreamTimeout from exc

    def cut(self) -> None:
        """End all completions that are open."""
        self._is_cut = True
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)

    def cancel(self) -> None:
        """Cancel what did not even end when it was cut: callers that do not read."""
        for task in self._open:
            task.cancel()
