"""The host runs out of file descriptors, or of disk for logs."""

import asyncio
import json
import os
import resource
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import aiohttp

from gptdock.accounts import Account
from gptdock.dev.openai import SimulatedOpenAI
from gptdock.ledger.store import Store
from tests.harness.processes import GPTDOCK, PATIENCE_SECONDS, SECRETS, Running, end, environment, serving, starting
from tests.harness.service import KEY, QUESTION, sse_data

HEADERS = {"Authorization": f"Bearer {KEY}"}


async def test_a_process_without_file_descriptors_waits_for_some(
    tmp_path: Path, dynamodb: str, store: Store, openai: SimulatedOpenAI
):
    async with serving(tmp_path, environment(dynamodb, openai.url)) as running:
        await ask(running.url)
        pid = running.process.pid
        most = len(os.listdir(f"/proc/{pid}/fd")) + 10
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))

        with ExitStack() as idle:
            port = int(running.url.rpartition(":")[2])
            for _ in range(40):
                idle.enter_context(socket.create_connection(("127.0.0.1", port)))
            lines = [await line(running) for _ in range(3)]
        await ask(running.url)

        running.terminate()
        assert await running.ended() == 0
    faults = [each for each in lines if each["message"] == "no connection can be accepted"]
    assert len(faults) >= 2
    assert {each["fault"] for each in faults} == {"[Errno 24] Too many open files"}
    assert not any(secret in json.dumps(lines) for secret in SECRETS.values())
    book = await store.read(Account("c1", "p1"), "all")
    assert book
    assert (book.held, book.used) == (0, sum(record.spent for record in openai.journal))


def full_disk() -> BinaryIO:
    """A file to which every write fails with ENOSPC."""
    return open("/dev/full", "wb")


async def line(running: Running) -> dict[str, str]:
    """The next line of its log."""
    assert running.process.stderr
    async with asyncio.timeout(PATIENCE_SECONDS):
        record: dict[str, str] = json.loads(await running.process.stderr.readline())
        return record


async def ask(url: str) -> None:
    """Ask over a new connection; fails unless the answer is whole."""
    asked = QUESTION | {"stream": True}
    async with aiohttp.ClientSession(headers=HEADERS) as session, session.post(f"{url}/v1/ask", json=asked) as response:
        assert response.status == 200
        assert sse_data(await response.read())[-1] == b"[DONE]"


async def test_without_uvloop_asyncio_serves_and_the_log_says_so(
    tmp_path: Path, dynamodb: str, store: Store, openai: SimulatedOpenAI
):
    (tmp_path / "uvloop.py").write_text("raise ImportError\n")

    async with starting(tmp_path, environment(dynamodb, openai.url, PYTHONPATH=str(tmp_path))) as running:
        told = await line(running)
        await running.logged("serving")
        await ask(running.url)
        running.terminate()
        assert await running.ended() == 0

    assert told["message"].startswith("uvloop is not available")


async def test_a_full_disk_for_logs_stops_no_answer(
    tmp_path: Path, dynamodb: str, store: Store, openai: SimulatedOpenAI
):
    with socket.create_server(("127.0.0.1", 0)) as sock, full_disk() as full:
        url, fd = f"http://127.0.0.1:{sock.getsockname()[1]}", sock.fileno()
        env = environment(dynamodb, openai.url)
        process = await asyncio.create_subprocess_exec(
            GPTDOCK, "serve", "--fd", str(fd), cwd=tmp_path, env=env, stderr=full, pass_fds=[fd]
        )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(ask(url) for _ in range(20)))
            process.terminate()
            assert await process.wait() in (0, 120)  # Python exits with 120 if stderr cannot be flushed
    finally:
        await end(process)
    book = await store.read(Account("c1", "p1"), "all")
    assert book
    assert (book.held, book.used) == (0, sum(record.spent for record in openai.journal))
