"""The yardstick: the least that a relay on aiohttp and uvloop can do. A process of its own, as GPTDock is.

`python -m tests.long.bench.relay FD UPSTREAM` serves a listening socket until it is terminated.
"""

import asyncio
import signal
import socket
import sys

import aiohttp
import uvloop
from aiohttp import web


async def _serve(fd: int, upstream: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        relay = Relay(session, f"{upstream}/chat/completions")
        application = web.Application()
        application.router.add_post("/{path:.*}", relay.answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, socket.socket(fileno=fd), backlog=4096).start()
        await stop.wait()
        await runner.cleanup()


class Relay:
    """Sends each body on, and each answer back."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self._headers = {"Authorization": "Bearer sk-bench", "Content-Type": "application/json"}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The upstream's answer."""
        body = await request.read()
        async with self._session.post(self._url, data=body, headers=self._headers) as answer:
            if answer.content_type != "text/event-stream":
                return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            async for data in answer.content.iter_any():
                await response.write(data)
            await response.write_eof()
            return response


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2]))
