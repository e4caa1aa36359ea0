"""A server's process on a core of its own: started on a listening socket, measured in /proc, ended by its id."""

import asyncio
import os
import resource
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import STDOUT

END_SECONDS = 20.0  # to drain, after which it is killed
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_CORES = sorted(os.sched_getaffinity(0))  # the first is for the server, the second for everything else


def use_the_other_core() -> None:
    """Leave the server's core to it, if there is another."""
    os.sched_setaffinity(0, _CORES[1:2] or _CORES)


def raise_file_limit() -> None:
    """Let this process, and those that it starts, open as many files as it may."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit(), file_limit()))


def file_limit() -> int:
    """Open files that a process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@asynccontextmanager
async def started(command: list[str], env: Mapping[str, str], fd: int, log: Path) -> AsyncIterator[Process]:
    """The process, with this descriptor; its folder is that of its log, and it ends with the block."""
    clean = {"PATH": os.environ["PATH"]} | dict(env)
    with log.open("wb") as out:
        # A session of its own, so that Ctrl-C reaches only us, who end it.
        process = await asyncio.create_subprocess_exec(
            *command, cwd=log.parent, env=clean, stdout=out, stderr=STDOUT, pass_fds=[fd], start_new_session=True
        )
    try:
        os.sched_setaffinity(process.pid, _CORES[:1])
        yield process
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def cpu_seconds(pid: int) -> float:
    """What the process and its children used so far, in user and kernel."""
    return sum(_cpu_ticks(each) for each in _tree(pid)) * _TICK


def others_cpu_seconds(pid: int) -> float:
    """What other programs used of the server's core so far, the host of a virtual machine included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{_CORES[0]}":
            user, nice, system, *_ = map(int, fields)
            return (user + nice + system + int(fields[7])) * _TICK - cpu_seconds(pid)
    return 0


def rss_bytes(pid: int) -> int:
    """The memory that the process and its children have now."""
    pages = (int(_read(each, "statm").split()[1]) for each in _tree(pid))
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def _cpu_ticks(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield from _tree(int(child))


def _read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()
