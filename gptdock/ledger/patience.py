"""Deadlines for what DynamoDB does, which do not count the time in which the event loop stood still.

When the loop of a busy process turns again, what came from DynamoDB in the meantime has yet to pass through two or
three turns until the request that waits for it is told; a timer that is due has not. So a deadline is a chain of STEPS
timers: a turn of the loop counts as one of them at most, however long it took. Where turns are short, the time is that
of one timer.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

STEPS = 10

Waited = asyncio.Future[Any]


def begin(future: Waited, seconds: float, end: Callable[[Waited], None]) -> asyncio.TimerHandle:
    """Call `end` with the future after so many seconds, unless it is done then. If it is done before, cancel this."""
    step = seconds / STEPS
    return future.get_loop().call_later(step, _next, future, step, STEPS - 1, end)


def _next(future: Waited, step: float, left: int, end: Callable[[Waited], None]) -> None:
    if future.done():
        return
    if left:
        future.get_loop().call_later(step, _next, future, step, left - 1, end)
    else:
        end(future)


@asynccontextmanager
async def limit(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError if the block takes longer."""
    inside: Waited = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(None) as timeout:
        timer = begin(inside, seconds, lambda _: timeout.reschedule(0))
        try:
            yield
        finally:
            inside.cancel()
            timer.cancel()
