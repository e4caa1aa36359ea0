"""Reports when the event loop was blocked or the process was stopped, during which every open stream stood still."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gptdock.telemetry import metrics

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
BLOCKED_SECONDS = 0.25  # five times the longest turn of the loop that is allowed: tests/system/test_loop.py


@asynccontextmanager
async def watching() -> AsyncIterator[None]:
    """Watch the running loop until the end of the block."""
    task = asyncio.create_task(_watch(), name="watchdog")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _watch() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_at = loop.time() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        late_seconds = loop.time() - due_at
        metrics.LOOP_LAG.observe(late_seconds)
        if late_seconds > BLOCKED_SECONDS:
            log.warning("event loop was blocked", extra={"seconds": round(late_seconds, 3)})
