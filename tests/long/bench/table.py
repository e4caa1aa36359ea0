"""The one table: each line's medians for every server, and how they stand to the relay's of the same round."""

import math
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

from tests.long.bench.figures import Figures

Rounds = list[Figures]
Results = dict[str, dict[str, Rounds]]  # by row and server
RELAY = "relay"
MOST_WORLD = 0.9  # of their core: from there on, callers and upstream are late themselves
MOST_OTHERS = 0.1  # of the server's core: from there on, it waits for others, merges events, and so looks cheaper


class Comparison(NamedTuple):
    """How a server stands to another: a number, and how it is written."""

    of: Callable[[float, float], float]
    form: str


RATIO = Comparison(lambda left, right: left / right if right else math.nan, "{:.2f}")
ADDED = Comparison(operator.sub, "{:+.1f}")


class Line(NamedTuple):
    """A line of the table: a value of a row, with so many digits after its point, compared or not."""

    row: str
    value: str
    title: str
    digits: int = 0
    comparison: Comparison | None = RATIO


LINES = (
    Line("json", "hot_us", "CPU a JSON request, us: one client"),
    Line("json", "openai_us", "CPU a JSON request, us: OpenAI route"),
    Line("json", "many_us", "CPU a JSON request, us: 1,000 clients in turn"),
    Line("json", "hot_writes", "DynamoDB writes a request: one client", 2, None),
    Line("json", "hot_batches", "batches of receipts a request: one client", 2, None),
    Line("json", "many_writes", "DynamoDB writes a request: 1,000 clients in turn", 2, None),
    Line("json", "many_batches", "batches of receipts a request: 1,000 clients in turn", 2, None),
    Line("event", "event_us", "CPU an event, us: 500 streams of 100 tokens", 1),
    Line("event", "first_p50_ms", "time to first token, ms: 500 streams, p50", 1, ADDED),
    Line("event", "first_p99_ms", "time to first token, ms: 500 streams, p99", 1, ADDED),
    Line("event", "stream_kib", "memory a stream, KiB: plain", 1),
    Line("tls", "event_us", "CPU an event, us: the same over TLS", 1),
    Line("tls", "stream_kib", "memory a stream, KiB: over TLS", 1),
    Line("long", "event_us", "CPU an event, us: 500 streams of 400 tokens", 1),
    Line("full", "answered", "1,000 streams of 20 tokens/s: answered", 0, None),
    Line("full", "first_p99_ms", "1,000 streams of 20 tokens/s: first token p99, ms", 1),
    Line("quiet", "answered", "5,000 streams of 2 tokens/s: answered", 0, None),
    Line("quiet", "refused", "5,000 streams of 2 tokens/s: refused", 0, None),
    Line("quiet", "first_p99_ms", "5,000 streams of 2 tokens/s: first token p99, ms", 1),
    *(
        Line("flat", f"{kind}_us_{crowd}", f"CPU {name}, us: {crowd:,} {whose}", digits)
        for kind, name, whose, digits in (
            ("event", "an event", "open streams", 1),
            ("beside", "a JSON request of 64 callers", "open streams beside", 0),
            ("request", "a JSON request", "callers", 0),
        )
        for crowd in (10, 100, 1000)
    ),
    Line("pending", "request_us_1", "CPU a JSON request, us: receipts put as they come"),
    Line("pending", "request_us_4000", "CPU a JSON request, us: 4,000 receipts wait to be put"),
    Line("start", "start_seconds", "start to first answer, s", 2),
    Line("start", "idle_mib", "memory after that, MiB"),
)


def render(results: Results) -> Iterator[str]:
    """The table in Markdown, and under it what was not perfect or not measured."""
    names = list(next(iter(results.values())))
    pairs = [(name, RELAY) for name in names if name != RELAY]
    if len(pairs) == 2:
        pairs.append((names[0], names[1]))
    heads = ["", *names, *(f"{left} to {right}" for left, right in pairs)]
    yield _row(heads)
    yield _row(["---", *("---:" for _ in heads[1:])])
    for line in LINES:
        if line.row in results:
            row = results[line.row]
            values = [_median(row[name], line) for name in names]
            yield _row([line.title, *values, *(_compared(row[left], row[right], line) for left, right in pairs)])
    yield ""
    yield from _notes(results)


def faults(results: Results) -> Iterator[str]:
    """What was not perfect: a line for each row and server."""
    for row, servers in results.items():
        for name, rounds in servers.items():
            for what, count in sum((figures.faults for figures in rounds), Counter[str]()).items():
                yield f"NOT PERFECT: {row}, {name}: {count} x {what}"


def _notes(results: Results) -> Iterator[str]:
    yield from faults(results)
    for row, servers in results.items():
        for name, rounds in servers.items():
            if why := rounds[0].skipped:
                yield f"not measured: {row}, {name}: {why}"
            if (share := max(figures.world_share for figures in rounds)) > MOST_WORLD:
                yield f"{row}, {name}: callers and upstream used {share:.0%} of their core, so times are theirs too"
            if (share := max(figures.others_share for figures in rounds)) > MOST_OTHERS:
                yield f"{row}, {name}: other programs used {share:.0%} of the server's core, so nothing is exact"


def _values(rounds: Rounds, line: Line) -> list[float]:
    return [figures.values[line.value] for figures in rounds if not figures.skipped]


def _median(rounds: Rounds, line: Line) -> str:
    values = _values(rounds, line)
    return f"{median(values):,.{line.digits}f}" if values else "-"


def _compared(left: Rounds, right: Rounds, line: Line) -> str:
    """The median over the rounds: what disturbs one round disturbs both servers."""
    pairs = list(zip(_values(left, line), _values(right, line), strict=False))
    if line.comparison is None or not pairs:
        return ""
    return line.comparison.form.format(median(line.comparison.of(*pair) for pair in pairs))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
