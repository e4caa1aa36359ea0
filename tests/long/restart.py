"""A rolling restart under load: callers ask while the processes restart by the commands of the guide for operators.

`python -m tests.long.restart 50 30`: 50 callers, for at least 30 seconds. With a revision as the third argument, the
processes start with that one, are upgraded to this tree, and go back.
"""

import asyncio
import re
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from gptdock.dev.dynamodb import serve_dynamodb
from gptdock.dev.openai import SimulatedOpenAI, serve_openai
from gptdock.dev.script import Script
from gptdock.prompt.tokens import Tokens
from tests.harness.documents import OPERATORS
from tests.harness.processes import run
from tests.harness.service import KEY, QUESTION, sse_data
from tests.harness.supervisord import WORKERS, Supervisor, supervised
from tests.long.versions import ROOT, Versions, extracted

CLIENTS = 5  # fewer than callers, so that both processes write to the same books
PACE = Script(tokens=30, first_event_seconds=0.2, token_seconds=0.04)  # 1.4 seconds per answer


@dataclass
class Report:
    """What the callers saw, and how the books compare; tokens over all clients."""

    requests: int = 0
    retries: int = 0  # after the end of a kept connection
    restarted: int = 0
    failures: list[str] = field(default_factory=list)
    generated: int = 0
    charged: int = 0
    held: int = 0
    drift: int = 0
    versions: list[str] = field(default_factory=list)  # of each start, if there are several


class ConnectionEnded(Exception):
    """A kept connection ended, or will, before the answer's headers came: the question may be repeated."""


class Caller:
    """Asks one streamed question after the other, each over a new connection or, if it `keeps`, all over one.

    If a kept connection is closed or answers `draining`, the question is repeated once, over a new connection.
    """

    def __init__(self, number: int, supervisor: Supervisor, report: Report, *, keeps: bool) -> None:
        self._body = QUESTION | {"client_id": f"c{number % CLIENTS}", "stream": True}
        self._url, self._report, self._keeps = f"{supervisor.url}/v1/ask", report, keeps
        self._answered = asyncio.Event()

    async def answered(self) -> None:
        """Wait until it was answered once more, or failed."""
        self._answered.clear()
        await self._answered.wait()

    async def call(self, enough: asyncio.Event) -> None:
        """Ask until `enough` is set; failures go to the report."""
        async with self._session(keeps=self._keeps) as session:
            while not enough.is_set():
                self._report.requests += 1
                try:
                    await self._be_answered(session)
                except (aiohttp.ClientError, OSError, AssertionError) as exc:
                    self._report.failures.append(repr(exc))
                self._answered.set()

    async def _be_answered(self, session: aiohttp.ClientSession) -> None:
        try:
            await self._ask(session)
        except ConnectionEnded:
            self._report.retries += 1
            async with self._session(keeps=False) as new:
                await self._ask(new)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        async with await self._head(session) as response:
            body = await response.read()
            assert response.status == 200, body
            assert sse_data(body)[-1] == b"[DONE]", body

    async def _head(self, session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        used: set[str] = set()
        try:
            response = await session.post(self._url, json=self._body, trace_request_ctx=used)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
            if "kept" in used:
                raise ConnectionEnded from exc
            raise
        if "kept" in used and response.status == 503 and b'"draining"' in await response.read():
            raise ConnectionEnded
        return response

    def _session(self, *, keeps: bool) -> aiohttp.ClientSession:
        async def note(session: aiohttp.ClientSession, context: object, params: object) -> None:
            context.trace_request_ctx.add("kept")  # type: ignore[attr-defined]

        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(note)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=not keeps),
            headers={"Authorization": f"Bearer {KEY}"},
            trace_configs=[trace],
        )


def restarts() -> list[list[str]]:
    """The arguments of each `supervisorctl restart` in the guide for operators."""
    lines = re.findall(r"^ *sudo supervisorctl (restart \S+) && ready", OPERATORS.text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def _nothing() -> None:
    """Between restarts of the same version."""


async def restart_under_load(
    supervisor: Supervisor, callers: int, seconds: float = 0, before_each: Sequence[Callable[[], None]] = (_nothing,)
) -> Report:
    """Do all restarts while `callers` ask for `seconds` or longer; then stop the processes, so that all is settled.

    They are done once after each call of `before_each`. Before each restart and after the last, every caller is
    answered once more.
    """
    report, enough = Report(), asyncio.Event()
    asking = [Caller(number, supervisor, report, keeps=number % 2 == 0) for number in range(callers)]
    asked = asyncio.gather(*(each.call(enough) for each in asking))
    lasting = asyncio.create_task(asyncio.sleep(seconds))
    before = [await supervisor.control("pid", worker) for worker in WORKERS]
    for prepare in before_each:
        prepare()
        for arguments in restarts():
            await asyncio.gather(*(each.answered() for each in asking))
            assert "started" in await supervisor.control(*arguments)
    await asyncio.gather(*(each.answered() for each in asking))
    after = [await supervisor.control("pid", worker) for worker in WORKERS]
    await lasting
    enough.set()
    await asked
    await supervisor.control("stop", "gptdock:*")
    report.restarted = sum(old != new for old, new in zip(before, after, strict=True))
    return report


async def read_books(folder: Path, openai: SimulatedOpenAI, report: Report) -> None:
    """Add to the report what `gptdock audit` prints and what OpenAI generated."""
    finished = await run("audit", cwd=folder, env={})
    *lines, _ = finished.out.splitlines()[1:]  # the last one is a summary
    for line in lines:
        *_, held, used, _, drift = line.replace(",", "").split()
        report.held, report.charged, report.drift = (
            report.held + int(held),
            report.charged + int(used),
            report.drift + abs(int(drift)),
        )
    report.generated = sum(record.spent for record in openai.journal)


@asynccontextmanager
async def _machine(folder: Path) -> AsyncIterator[tuple[Supervisor, SimulatedOpenAI]]:
    async with AsyncExitStack() as stack:
        dynamodb = await stack.enter_async_context(serve_dynamodb())
        openai = await stack.enter_async_context(serve_openai(Tokens("gpt-4o-mini").pieces, PACE))
        yield await stack.enter_async_context(supervised(folder, dynamodb, openai.url)), openai


async def _main(callers: int, seconds: float, revision: str | None = None) -> Report:
    with TemporaryDirectory() as name:
        folder, turns = Path(name), [_nothing]
        versions = Versions(folder)
        if revision:
            versions.add("then", extracted(revision, folder))
            versions.add("now", ROOT)
            versions.choose("then")
            turns = [partial(versions.choose, "now"), partial(versions.choose, "then")]
        async with _machine(folder) as (supervisor, openai):
            report = await restart_under_load(supervisor, callers, seconds, turns)
            await read_books(folder, openai, report)
        report.versions = versions.started()
        return report


if __name__ == "__main__":
    print(asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:4])))
