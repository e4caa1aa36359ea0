"""The output of commands: tables, and a count of progress."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from gptdock.cli.console import Table, counted


async def items(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@contextmanager
def terminal(monkeypatch) -> Iterator[int]:
    """Make stderr a terminal; yields the descriptor that reads what is written to it."""
    reader, writer = os.openpty()
    with os.fdopen(reader, "rb") as kept, os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        yield kept.fileno()


def test_a_table_is_aligned_and_loses_nothing(capsys):
    table = Table("name:<6 tokens:>8")
    table.row("a", 5)
    table.row("much longer", -123456789)

    assert capsys.readouterr().out == "name     tokens\na             5\nmuch longer -123456789\n"


async def test_a_count_at_a_terminal_is_rewritten_and_then_erased(monkeypatch):
    with terminal(monkeypatch) as fd:
        found = [item async for item in counted(items(250))]
        sys.stderr.flush()

        shown = b""
        while not shown.endswith(b"\033[K"):
            shown += os.read(fd, 1000)

    assert found == list(range(250))
    assert shown == b"\r100 read\r200 read\r\033[K"


async def test_a_known_total_is_shown_as_a_bar(monkeypatch):
    with terminal(monkeypatch) as fd:
        assert [item async for item in counted(items(3), 3)] == [0, 1, 2]
        sys.stderr.flush()

        shown = b""
        while not shown.endswith(b"\033[K"):
            shown += os.read(fd, 1000)

    bars = [b"[" + b"#" * done + b" " * (40 - done) + b"]" for done in (13, 26, 40)]
    assert shown.split(b"\r")[1:4] == [b"%b %d of 3" % (bar, count) for count, bar in enumerate(bars, 1)]


async def test_a_count_is_not_shown_without_a_terminal(capsys):
    assert [item async for item in counted(items(250))] == list(range(250))
    assert capsys.readouterr() == ("", "")
