"""The connections that callers hold to this process: a deadline for the first head, and their end when it drains.

aiohttp bounds a head by `keepalive_timeout` alone, which must be long, or the next POST of a BFF would race the end of
an idle connection. So a connection that has not sent its first head in HEAD_TIMEOUT is closed here (DESIGN 4).
"""

import asyncio
from collections.abc import Callable

from aiohttp.web import RequestHandler

FRESH_SECONDS = 1.0  # for the first request of a connection that was accepted before the drain


class Connections:
    """Fresh connections have not sent a request yet; all others are kept ones."""

    def __init__(self, head_timeout: float) -> None:
        self.draining = False
        self._head_timeout = head_timeout
        self._fresh: dict[RequestHandler, asyncio.TimerHandle] = {}

    def opened(self, handler: RequestHandler) -> None:
        """A connection was accepted."""
        self._fresh[handler] = self._close_in(self._head_timeout, handler)

    def asked(self, handler: RequestHandler) -> bool:
        """A request came: whether it is its connection's first."""
        timer = self._fresh.pop(handler, None)
        if timer:
            timer.cancel()
        return timer is not None

    async def drain(self, handlers: Callable[[], list[RequestHandler]]) -> None:
        """Close idle connections at once, busy ones after their request, fresh ones after their first; await them."""
        self.draining = True
        await asyncio.sleep(0)  # let requests that are here already begin: they are told that this process drains
        for handler, timer in self._fresh.items():
            timer.cancel()
            self._fresh[handler] = self._close_in(FRESH_SECONDS, handler)
        kept = [handler for handler in handlers() if handler not in self._fresh]
        await asyncio.gather(*(_shut(handler) for handler in kept))
        if self._fresh:
            await asyncio.sleep(FRESH_SECONDS)
        await asyncio.gather(*(_shut(handler) for handler in handlers()))

    def _close_in(self, seconds: float, handler: RequestHandler) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._close, handler)

    def _close(self, handler: RequestHandler) -> None:
        del self._fresh[handler]
        handler.force_close()


async def _shut(handler: RequestHandler) -> None:
    handler.close()  # first, or an idle one would be waited for
    await handler.shutdown(None)
