"""The files in `supervisor/`, under a real supervisord: two processes on one socket, restarted when they end."""

import asyncio
import os
import re
import signal
import tomllib
from collections.abc import AsyncIterator
from configparser import RawConfigParser
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
from packaging.requirements import Requirement

from gptdock.accounts import Account
from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import Script
from gptdock.http.server import CANCEL_SECONDS, CLEANUP_SECONDS, CUT_SECONDS, SETTLE_SECONDS
from gptdock.ledger.store import Store
from gptdock.settings import Settings
from tests.harness.processes import environment
from tests.harness.service import KEY, sse_data
from tests.harness.supervisord import PROGRAM, ROOT, WORKERS, Supervisor, shipped, supervised


@contextmanager
def stopped(pid: int):
    """Pause a process while the context is open, so that only others can answer."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
async def supervisor(tmp_path: Path, dynamodb: str, openai: SimulatedOpenAI) -> AsyncIterator[Supervisor]:
    """The shipped configuration, with a short drain."""
    async with supervised(
        tmp_path, dynamodb, openai.url, DRAIN_SECONDS="2", DEFAULT_TOKEN_QUOTA="1000000000"
    ) as supervisor:
        yield supervisor


async def test_both_processes_serve_and_a_killed_one_comes_back(supervisor: Supervisor, tmp_path: Path):
    modes = [oct(os.stat(tmp_path / f"gptdock_{number}.log").st_mode)[-3:] for number in (0, 1)]
    assert modes == ["640", "640"]
    first, second = [int(await supervisor.control("pid", worker)) for worker in WORKERS]

    with stopped(first):
        await supervisor.ask()  # only the second can answer
    with stopped(second):
        await supervisor.ask()  # only the first
        os.kill(first, signal.SIGKILL)
        await supervisor.logged("exited: gptdock_0 .terminated by SIGKILL; not expected")
        [third] = await supervisor.logged(r"spawned: 'gptdock_0' with pid (\d+)")
        await supervisor.ask()  # only the new process

    assert int(third) not in (first, second)
    await supervisor.logged("success: gptdock_0 entered RUNNING state")


async def test_a_stop_drains(supervisor: Supervisor, openai: SimulatedOpenAI):
    openai.script = Script(tokens=20, hold_at=5)

    async with aiohttp.ClientSession() as session, supervisor.open(session) as response:
        begun = await response.content.readany()
        stopping = asyncio.create_task(supervisor.control("stop", "gptdock:*"))
        [idle] = await supervisor.logged("stopped: (gptdock_.) .exit status 0")
        openai.release()
        body = begun + await response.read()
        [busy] = await supervisor.logged("stopped: (gptdock_.) .exit status 0")
    await stopping

    assert sse_data(body)[-1] == b"[DONE]"
    assert {idle, busy} == {"gptdock_0", "gptdock_1"}


async def test_a_rotation_of_keys_by_rolling_restarts_loses_no_request(
    supervisor: Supervisor, tmp_path: Path, store: Store, openai: SimulatedOpenAI
):
    openai.script = Script(tokens=5)
    for pair, key in ((f"{KEY},next-key", KEY), ("next-key", "next-key")):
        text = re.sub("(?m)^PRE_SHARED_KEY=.*$", f"PRE_SHARED_KEY={pair}", (tmp_path / ".env").read_text())
        (tmp_path / ".env").write_text(text)
        async with callers(supervisor, key) as answers:
            for worker in WORKERS:
                await supervisor.ready()
                await one_more(answers)
                await supervisor.control("restart", worker)
                assert not answers.empty()

    for worker in WORKERS:
        with stopped(int(await supervisor.control("pid", worker))):
            async with aiohttp.ClientSession() as session, supervisor.open(session, KEY) as response:
                assert response.status == 403
    await supervisor.control("stop", "gptdock:*")
    book = await store.read(Account("c1", "p1"), "all")
    assert book
    assert (book.used, book.held) == (sum(record.spent for record in openai.journal), 0)
    receipts = [receipt.tokens async for receipt in store.receipts(Account("c1", "p1"), "all")]
    assert (len(receipts), sum(receipts)) == (len(openai.journal), book.used)


@asynccontextmanager
async def callers(supervisor: Supervisor, key: str) -> AsyncIterator[asyncio.Queue[None]]:
    """Three callers ask one question after the other while the context is open; yields an item for each answer."""
    answers: asyncio.Queue[None] = asyncio.Queue()
    over = asyncio.Event()

    async def call() -> None:
        while not over.is_set():
            await supervisor.ask(key)
            answers.put_nowait(None)

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(call())
        yield answers
        over.set()


async def one_more(answers: asyncio.Queue[None]) -> None:
    """Wait for an answer after those that came."""
    while not answers.empty():
        answers.get_nowait()
    await answers.get()


def test_supervisor_waits_longer_than_a_drain_takes():
    drain_seconds = Settings.from_env(environment()).drain_seconds

    wait_seconds = shipped().getint(PROGRAM, "stopwaitsecs")

    assert wait_seconds == drain_seconds + 20
    assert wait_seconds > drain_seconds + CUT_SECONDS + CANCEL_SECONDS + SETTLE_SECONDS + CLEANUP_SECONDS


def test_file_descriptors_suffice_for_all_streams():
    streams = Settings.from_env(environment()).max_streams

    assert shipped().getint("supervisord", "minfds") > 2 * streams + 1000


def test_the_configuration_has_no_secrets():
    names = [pair.partition("=")[0] for pair in shipped()[PROGRAM]["environment"].split(",")]

    assert names == ["HOME", "OPS_PORT"]


def locked() -> dict[str, str]:
    """The packages in `supervisor/requirements.txt` with their versions, if all their hashes are well-formed."""
    text = (ROOT / "supervisor/requirements.txt").read_text()
    return dict(
        re.findall(r"^([a-z0-9-]+)==(\S+) \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE)
    )


def test_the_lock_satisfies_what_the_package_requires():
    setup = RawConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = [Requirement(line) for line in setup["options"]["install_requires"].split()]
    versions = locked()

    assert required
    assert all(each.specifier.contains(versions[each.name]) for each in required)


def test_what_builds_the_package_is_in_the_lock_and_nothing_else_is_fetched_for_it():
    """pip would fetch setuptools without a hash, and run it, as root."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    installs = re.findall(r"pip install (?!--require-hashes)[^`\n&]*", (ROOT / "supervisor/README.md").read_text())

    assert all(each.specifier.contains(locked()[each.name]) for each in map(Requirement, build))
    assert {line.strip() for line in installs} == {"pip install --no-deps --no-build-isolation ."}


def test_every_package_of_the_lock_has_hashes_and_no_url():
    text = (ROOT / "supervisor/requirements.txt").read_text()

    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith(("#", "--hash=sha256:"))]

    assert len(lines) == len(locked()) > 20
    assert "://" not in text
