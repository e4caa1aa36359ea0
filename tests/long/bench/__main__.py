"""Measures GPTDock beside the relay, and prints one table.

    make bench                      all rows, about 7 minutes: start, json, event, tls, long, full, quiet, flat, pending
    make bench ROWS=json,event      these alone, about a minute
    make bench RUNS=3               three rounds of each row, and their medians
    make bench COMPARE=HEAD~3       another revision as well, in turns with this tree, for two rounds
    make bench JSON=figures.json    keep each figure of each round

Upstream, DynamoDB and callers are simulated in this process, on the second core; the server that is measured is alone
on the first. Compare ratios to the relay of the same run: microseconds differ between machines, and between days.
The exit status is 1 if anything was not perfect: refused, broken off, not whole, late.
"""

import argparse
import asyncio
import datetime
import gc
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from tests.long.bench import processes, table
from tests.long.bench.figures import Figures, Scale
from tests.long.bench.rows import ROWS
from tests.long.bench.systems import ROOT, Fault, System, World, world
from tests.long.versions import UnknownRevision, extracted


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for; 0 if all was perfect."""
    parsed = _parser().parse_args(arguments)
    processes.raise_file_limit()
    processes.use_the_other_core()
    gc.set_threshold(100_000, 50, 50)
    try:
        with TemporaryDirectory() as folder:
            return uvloop.run(_measure(parsed, Path(folder)))
    except (Fault, UnknownRevision) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.long.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=_rows, default=list(ROWS), help=f"some of {','.join(ROWS)}")
    parser.add_argument("--runs", type=int, help="rounds of each row, of which the median counts")
    parser.add_argument("--compare", metavar="REV", help="a revision to measure in turns with this tree")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round there")
    parser.add_argument("--scale", type=float, default=1.0, help="less than 1: fewer streams and requests, for a test")
    return parser


def _rows(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(ROWS):
        raise argparse.ArgumentTypeError(f"no such row: {', '.join(sorted(unknown))}")
    return names


async def _measure(parsed: argparse.Namespace, folder: Path) -> int:
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    systems = [System("GPTDock", ROOT), System(table.RELAY)]
    if parsed.compare:
        systems.insert(1, System(parsed.compare, extracted(parsed.compare, folder)))
    rounds = parsed.runs or (2 if parsed.compare else 1)
    async with world(folder) as built:
        results = {row: await _in_turns(row, systems, rounds, built, Scale(parsed.scale)) for row in parsed.rows}
    print("\n".join([_circumstances(), "", *table.render(results)]))
    if parsed.json:
        parsed.json.write_text(json.dumps(results, default=asdict, indent=1))
    return 1 if any(table.faults(results)) else 0


def _circumstances() -> str:
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    revision = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown revision"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("aiohttp", "uvloop", "aiobotocore"))
    now = datetime.datetime.now(datetime.UTC)
    return (
        f"{now:%Y-%m-%d %H:%M} UTC, {revision}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"
    )


async def _in_turns(
    row: str, systems: list[System], rounds: int, built: World, scale: Scale
) -> dict[str, list[Figures]]:
    found: dict[str, list[Figures]] = {system.name: [] for system in systems}
    for number in range(rounds):
        for system in systems:
            print(f"{row}, {system.name}, {number + 1} of {rounds}", file=sys.stderr, flush=True)
            figures = await ROWS[row](partial(built.serving, system), scale)
            figures.faults.update(built.store.faults)
            built.store.faults.clear()
            found[system.name].append(figures)
    return found


if __name__ == "__main__":
    sys.exit(main())
