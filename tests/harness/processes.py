"""The real `gptdock` command in its own process, with only the environment that a test gives it."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness.service import KEY

GPTDOCK = str(Path(sys.executable).parent / "gptdock")
PATIENCE_SECONDS = 60  # for anything that a process does at once, on a busy machine
SECRETS = {"OPEN_AI_KEY": "sk-upstream-secret", "PRE_SHARED_KEY": KEY, "AWS_SECRET_ACCESS_KEY": "aws-secret"}

_AHEAD = """
import sys, time
right = time.time
time.time = lambda: right() + {seconds}
{before}
from gptdock.__main__ import main
sys.exit(main())
"""


def gptdock_ahead(seconds: str, before: str = "") -> tuple[str, ...]:
    """The command `gptdock` on a machine whose clock is ahead by what this expression says; it knows `right()`.

    The Python statement `before` is run first.
    """
    return (sys.executable, "-c", _AHEAD.format(seconds=seconds, before=before))


class Finished(NamedTuple):
    """Exit code, stdout and stderr of a process that ended."""

    code: int
    out: str
    err: str


@dataclass
class Running:
    """A serving process, ended by what started it. Waits raise TimeoutError after PATIENCE_SECONDS."""

    url: str
    process: Process

    async def logged(self, message: str) -> dict[str, Any]:
        """Wait for the next log line with this message, and return it; lines before it are dropped."""
        assert self.process.stderr
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self.process.stderr:
                record: dict[str, Any] = json.loads(line)
                if record["message"] == message:
                    return record
        raise AssertionError(f"ended without having logged {message!r}")

    def terminate(self) -> None:
        """Send SIGTERM, as supervisor does."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Wait until it ends by itself; return its exit code."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


def environment(
    dynamodb: str = "http://127.0.0.1:1", openai: str = "http://127.0.0.1:1/v1", **more: str
) -> dict[str, str]:
    """An environment for `gptdock`, changed by `more`. Nothing listens on the default addresses."""
    needed = {"AWS_ACCESS_KEY_ID": "test", "AWS_ENDPOINT_URL_DYNAMODB": dynamodb, "OPENAI_BASE_URL": openai}
    return SECRETS | needed | more


async def run(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str],
    command: tuple[str, ...] = (GPTDOCK,),
    patience_seconds: float = PATIENCE_SECONDS,
) -> Finished:
    """Run `gptdock`, or another command, until it ends. Kills it and raises TimeoutError after `patience_seconds`."""
    process = await _start((*command, *arguments), cwd, env)
    try:
        async with asyncio.timeout(patience_seconds):
            out, err = await process.communicate()
    finally:
        await end(process)
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def starting(cwd: Path, env: Mapping[str, str], command: tuple[str, ...] = (GPTDOCK,)) -> AsyncIterator[Running]:
    """Start `gptdock serve --fd` on a free port; yields without waiting until it serves, and kills it at the end."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url, fd = f"http://127.0.0.1:{sock.getsockname()[1]}", sock.fileno()
        process = await _start((*command, "serve", "--fd", str(fd)), cwd, env, fd)
    try:
        yield Running(url, process)
    finally:
        await end(process)


@asynccontextmanager
async def serving(cwd: Path, env: Mapping[str, str]) -> AsyncIterator[Running]:
    """Start `gptdock serve --fd` on a free port; yields once it serves, and kills it at the end."""
    async with starting(cwd, env) as running:
        await running.logged("serving")
        yield running


class Dev(NamedTuple):
    """A running `gptdock dev`: its process, the lines that it printed, its address and its command to try."""

    process: Process
    lines: list[str]
    url: str
    command: str


@asynccontextmanager
async def dev(folder: Path, *arguments: str, **settings: str) -> AsyncIterator[Dev]:
    """Run `gptdock dev` on a free port; yields once it has printed its block."""
    env = {"PORT": "0", "PATH": os.environ["PATH"]} | settings
    process = await asyncio.create_subprocess_exec(
        GPTDOCK, "dev", *arguments, cwd=folder, env=env, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            lines = [line async for line in _until_the_command(process)]
        [url] = [line.split()[1].removesuffix("/v1") for line in lines if line.startswith("  URL ")]
        yield Dev(process, lines, url, "".join(lines[-2:]).replace(" \\  ", " "))
        if process.returncode is None:
            process.terminate()
            await process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)  # the second if the test killed it
    finally:
        await end(process)


async def _until_the_command(process: Process) -> AsyncIterator[str]:
    assert process.stdout
    line = ""
    while not line.startswith("  '{"):
        line = (await process.stdout.readline()).decode().rstrip("\n")
        assert line or not process.stdout.at_eof(), "ended without a command"
        yield line


async def end(process: Process) -> None:
    """Kill the process if it still runs, and wait for its end."""
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def _start(command: tuple[str, ...], cwd: Path, env: Mapping[str, str], *fds: int) -> Process:
    kept = {name: os.environ[name] for name in ("PATH", "AWS_CA_BUNDLE") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=kept | dict(env), stdin=PIPE, stdout=PIPE, stderr=PIPE, pass_fds=fds
    )
