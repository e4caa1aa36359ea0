"""A `gptdock serve` process that the nemesis kills, pauses and starts again."""

import asyncio
import signal
import socket

import aiohttp

from tests.harness.processes import gptdock_ahead

START_SECONDS = 60.0  # on a busy machine
FORGETFUL = "from gptdock.ledger import books; books.MOST_BOOKS = 2"


class Worker:
    """One `gptdock serve` process. Its socket outlives it, so that it can be started again on the same port.

    Its machine's clock jumps by `skew` seconds ahead, and a few seconds later back, all the time.
    It remembers two books.
    """

    def __init__(self, environ: dict[str, str], skew: int = 0) -> None:
        self._command = gptdock_ahead(f"{skew} * (right() % 7 < 4)", before=FORGETFUL)
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._process: asyncio.subprocess.Process | None = None
        self._environ = environ
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def start(self, session: aiohttp.ClientSession) -> None:
        """Start the process, and wait until it answers."""
        fd = self._socket.fileno()
        command = (*self._command, "serve", "--fd", str(fd))
        self._process = await asyncio.create_subprocess_exec(*command, env=self._environ, pass_fds=[fd])
        async with asyncio.timeout(START_SECONDS), session.get(f"{self.url}/v1/health") as response:
            assert response.status == 200

    async def end(self, number: signal.Signals) -> int:
        """Send the signal, wait for the end, and return the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return await self._process.wait()

    async def close(self) -> None:
        """Leave nothing behind, whether or not it was started, or is paused."""
        if self._process and self._process.returncode is None:
            await self.end(signal.SIGKILL)
        self._socket.close()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
