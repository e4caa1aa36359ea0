"""`make bench` in its smallest form: every row finds its figures, and what is not perfect is told."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from sys import executable

import pytest

from tests.harness.processes import run
from tests.long.bench import table
from tests.long.bench.figures import Figures, Scale
from tests.long.bench.load import Load, Question
from tests.long.bench.rows import ROWS
from tests.long.bench.store import Store
from tests.long.bench.systems import ROOT, Server, System, world

SMALL = 0.02
COMMAND = (executable, "-m", "tests.long.bench")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b'data: {"content":"","role":1}\n\n')
TOKEN, DONE, END = chunk(b'data: {"content":"a"}\n\n'), chunk(b"data: [DONE]\n\n"), chunk(b"")
REFUSAL = b'HTTP/1.1 503 Busy\r\nContent-Length: 31\r\n\r\n{"error":{"code":"overloaded"}}\n'


@pytest.mark.parametrize("system", [System("GPTDock", ROOT), System(table.RELAY)], ids=lambda system: system.name)
async def test_every_row_finds_its_figures_and_no_fault(tmp_path: Path, system: System):
    async with AsyncExitStack() as stack:
        worlds = {tls: await stack.enter_async_context(world(_folder(tmp_path, tls))) for tls in (False, True)}
        servers = {
            tls: await stack.enter_async_context(built.serving(system, tls=tls)) for tls, built in worlds.items()
        }

        @asynccontextmanager
        async def begin(*, tls: bool = False) -> AsyncIterator[Server]:
            yield servers[tls]  # one for all rows: to start each one's own would take most of the time

        found = {row: {system.name: [await measure(begin, Scale(SMALL))]} for row, measure in ROWS.items()}

    assert [*table.faults(found), *worlds[False].store.faults, *worlds[True].store.faults] == []
    assert [line for line in table.LINES if line.value not in found[line.row][system.name][0].values] == []


def _folder(parent: Path, tls: bool) -> Path:
    folder = parent / f"tls-{tls}"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("column", "fault"),
    [("used", "other tokens charged than used"), ("left", "tokens on hold at the end")],
)
async def test_wrong_books_are_a_fault(tmp_path: Path, column: str, fault: str):
    async with world(tmp_path) as built, built.serving(System("GPTDock", ROOT)):
        (book,) = built.store.books()
        book[column]["N"] = str(int(book[column]["N"]) + 1)

    assert fault in built.store.faults


def test_a_store_that_throttles_takes_no_receipts():
    store, item = Store(), {"account": {"S": "c1#p1"}, "receipt": {"S": "r"}}
    body = json.dumps({"RequestItems": {"gptdock_usage": [{"PutRequest": {"Item": item}}]}}).encode()

    store.throttles = True
    assert b" 400 " in store.call("BatchWriteItem", body)
    store.throttles = False
    assert b" 200 " in store.call("BatchWriteItem", body)


async def test_the_command_prints_the_table_and_keeps_the_figures(tmp_path: Path):
    options = ("--rows", "event", "--scale", str(SMALL), "--json", str(tmp_path / "json"))

    finished = await run(*options, cwd=ROOT, env={}, command=COMMAND)

    assert finished.code == 0, finished.err
    assert [line for line in table.LINES if line.row == "event" and f"| {line.title} |" not in finished.out] == []
    assert (tmp_path / "json").read_text().startswith('{\n "event": {')


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (STREAM + TOKEN + TOKEN + DONE + END, {}),
        (STREAM + TOKEN + DONE + END, {"incomplete": 1}),
        (STREAM + TOKEN + TOKEN + END, {"incomplete": 1}),
        (STREAM + TOKEN + TOKEN, {"truncated": 1}),
        (REFUSAL, {"503 overloaded": 1}),
        (b"", {"errors": 1}),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_an_answer_is_perfect_only_with_every_token_and_its_end(answer: bytes, fault: dict[str, int], size: int):
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(answer), size):
            writer.write(answer[at : at + size])
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        load = Load(port, itertools.repeat(Question(b"GET / HTTP/1.1\r\n\r\n", 2)))
        async with load.streams(1, 1):
            await load.over(10, 1)

    assert load.tally.faults() == fault


def test_what_is_not_perfect_is_told_under_the_table():
    figures = Figures({line.value: 1 for line in table.LINES if line.row == "quiet"})
    figures.faults["503 overloaded"] = 7

    rendered = list(
        table.render({"quiet": {"GPTDock": [figures, figures], table.RELAY: [Figures(figures.values)] * 2}})
    )

    assert rendered[-1] == "NOT PERFECT: quiet, GPTDock: 14 x 503 overloaded"
