"""Runs a real supervisord with the configuration in `supervisor/gptdock.conf`."""

import asyncio
import os
import random
import re
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from configparser import RawConfigParser
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from tests.harness.processes import GPTDOCK, PATIENCE_SECONDS, environment, run
from tests.harness.service import KEY, QUESTION, sse_data

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PROGRAM = "fcgi-program:gptdock"
WORKERS = ["gptdock:gptdock_0", "gptdock:gptdock_1"]


def shipped() -> RawConfigParser:
    """`supervisor/gptdock.conf`, parsed as supervisor does."""
    parser = RawConfigParser(inline_comment_prefixes=(";",))
    parser.read(ROOT / "supervisor/gptdock.conf")
    return parser


def shipped_umask() -> int:
    """That of `supervisor/umask.conf`, with which systemd starts supervisord."""
    parser = RawConfigParser()
    parser.read(ROOT / "supervisor/umask.conf")
    return int(parser["Service"]["UMask"], 8)


class Supervisor:
    """A supervisord with the shipped configuration, except for its user, port, paths and log files."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._config = folder / "supervisord.conf"
        parser = shipped()
        program = parser[PROGRAM]
        del program["user"]
        program["socket"] = f"tcp://127.0.0.1:{port}"
        program["command"] = program["command"].replace("/opt/gptdock/.venv/bin/gptdock", GPTDOCK)
        program["directory"] = str(folder)
        digits = free_ops_ports()
        self._ops_urls = [f"http://127.0.0.1:{digits}{number}" for number in range(len(WORKERS))]
        program["environment"], replaced = re.subn(
            r'(OPS_PORT=")\d+%\(process_num\)\d*d',
            rf"\g<1>{digits}%(process_num)d",
            program["environment"].replace("/opt/gptdock", str(folder)),
        )
        program["environment"] += f',PYTHONPATH="{folder}/version"'  # the package that is there, if any
        assert replaced == 1, "two supervisors of a test run would listen on the same ports"
        program["stdout_logfile"] = program["stdout_logfile"].replace("/var/log/supervisor", str(folder))
        # The sections of Debian's /etc/supervisor/supervisord.conf, which includes the shipped file.
        parser["supervisord"].update(
            {"logfile": str(folder / "log"), "pidfile": str(folder / "pid"), "nodaemon": "true"}
        )
        parser["unix_http_server"] = {"file": str(folder / "s")}
        parser["supervisorctl"] = {"serverurl": f"unix://{folder / 's'}"}
        parser["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        with self._config.open("w") as file:
            parser.write(file)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Supervisor"]:
        """Run supervisord; yields once both processes run, and stops it at the end."""
        self._process = await asyncio.create_subprocess_exec(
            *(BIN / "supervisord", "-c", self._config),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
            env=_path(),
            umask=shipped_umask(),
        )
        try:
            await self.logged("success: gptdock_. entered RUNNING state", times=len(WORKERS))
            yield self
        finally:
            self._process.terminate()  # it ends its workers first
            await self._process.communicate()
            assert self._process.returncode == 0

    async def logged(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until `times` lines of supervisord's log match; returns the last group of each, or the whole match."""
        assert self._process.stdout
        found: list[str] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < times:
                line = (await self._process.stdout.readline()).decode()
                assert line, f"ended without having logged {pattern!r}"
                if match := re.search(pattern, line):
                    found.append(match[match.lastindex or 0])
        return found

    async def ready(self) -> None:
        """Wait until both processes serve; supervisord calls one RUNNING after a time, whether it does or not."""
        async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE_SECONDS):
            for url in self._ops_urls:
                while not await _is_ready(session, url):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)

    async def control(self, *arguments: str) -> str:
        """Run `supervisorctl`; returns its output."""
        process = await asyncio.create_subprocess_exec(
            BIN / "supervisorctl", "-c", self._config, *arguments, stdout=PIPE, stderr=STDOUT, env=_path()
        )
        out, _ = await process.communicate()
        return out.decode()

    async def ask(self, key: str = KEY) -> None:
        """Ask over a new connection; fails unless the answer is whole."""
        async with aiohttp.ClientSession() as session, self.open(session, key) as response:
            assert response.status == 200
            assert sse_data(await response.read())[-1] == b"[DONE]"

    def open(self, session: aiohttp.ClientSession, key: str = KEY):
        """Ask for a streamed answer; use it with `async with`."""
        headers = {"Authorization": f"Bearer {key}"}
        return session.post(f"{self.url}/v1/ask", json=QUESTION | {"stream": True}, headers=headers)


@asynccontextmanager
async def supervised(folder: Path, dynamodb: str, openai: str, **settings: str) -> AsyncIterator[Supervisor]:
    """Run supervisord as on a VM: with settings in `.env`, after `gptdock tables`."""
    env_file = folder / ".env"
    env_file.touch(mode=0o600)
    values = environment(dynamodb, openai, RESERVE_TIMEOUT="20", **settings)  # a machine that runs tests is busy
    env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    assert (await run("tables", cwd=folder, env={})).code == 0
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    async with Supervisor(folder, port).running() as supervisor:
        yield supervisor


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/ready") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


def free_ops_ports() -> str:
    """The first digits of two free ports, of which one ends in 0 and the other in 1."""
    while True:
        digits = str(random.randint(1100, 3199))  # below the range of ephemeral ports
        first, second = (("127.0.0.1", int(f"{digits}{last}")) for last in (0, 1))
        with suppress(OSError), socket.create_server(first), socket.create_server(second):
            return digits


def _path() -> dict[str, str]:
    return {"PATH": os.environ["PATH"]}
