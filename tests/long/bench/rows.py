"""What is measured, by name. Each row starts servers of its own, so that no row depends on another."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from statistics import median

from tests.long.bench import processes
from tests.long.bench.figures import Figures, Meter, Scale, percentile
from tests.long.bench.load import Load
from tests.long.bench.systems import CLIENTS, Server
from tests.long.bench.upstream import Pace

STARTS = 3
ROUTES = ("hot", "openai", "many")
JSON = Pace(100)
JSON_CALLERS = 64
WARM_SECONDS, BURST_SECONDS = 0.5, 3.0
BURST_PATIENCE_SECONDS = 60.0
OTHER_FILES = 200  # that a server has open, beside two for each stream
CROWDS = (10, 100, 1000)
CROWD_TURNS = 3  # of which the median counts
CROWD_EVENTS_PER_SECOND = 10_000  # over all streams, however many those are
CROWD_STARTS_PER_SECOND = 500
CROWD_BEGUN_SECONDS = 30.0
QUIET_GAP_MS = 4000  # between the events of a stream that only has to be open
PENDING = 4000  # receipts that wait
PENDING_REQUESTS = 3000  # that are measured then; with them it has to be less than the 10,000 at which requests wait

Begin = Callable[..., AbstractAsyncContextManager[Server]]


async def measure_start(begin: Begin, scale: Scale) -> Figures:
    """A start: seconds to the first answer, and memory then."""
    seconds, sizes = [], []
    for _ in range(scale.count(STARTS)):
        async with begin() as server:
            seconds.append(server.start_seconds)
            sizes.append(server.rss_kib() / 1024)
    return Figures({"start_seconds": median(seconds), "idle_mib": median(sizes)})


async def measure_json(begin: Begin, scale: Scale) -> Figures:
    """JSON requests: CPU and writes a request."""
    figures = Figures()
    async with begin() as server:
        for route in ROUTES:
            async with _burst(server, route, JSON_CALLERS, scale, figures) as meter:
                figures.values |= {
                    f"{route}_us": meter.us_a_request(),
                    f"{route}_writes": meter.calls_a_request("UpdateItem", "TransactWriteItems"),
                    f"{route}_batches": meter.calls_a_request("BatchWriteItem"),
                }
    return figures


@asynccontextmanager
async def _burst(server: Server, route: str, crowd: int, scale: Scale, figures: Figures) -> AsyncIterator[Meter]:
    """So many callers ask; the meter is to be read at once. Many may be answered in waves, so each is awaited twice."""
    load, callers = server.load(route, JSON, stream=False), scale.count(crowd)
    async with load.burst(callers):
        # Each client's first request opens its book.
        await load.over(BURST_PATIENCE_SECONDS, scale.count(CLIENTS) if route == "many" else callers)
        await asyncio.sleep(scale.seconds(WARM_SECONDS))
        meter, begun = Meter(server, load.tally, figures), load.tally.over
        await asyncio.sleep(scale.seconds(BURST_SECONDS))
        await load.over(BURST_PATIENCE_SECONDS, begun + 2 * callers)
        yield meter
    figures.note(load.tally)


@dataclass(frozen=True, slots=True)
class Paced:
    """Streams that begin at a steady rate and are answered at a steady pace, all open at the same time."""

    streams: int
    per_second: int
    tokens: int
    gap_ms: float
    patience_seconds: float  # after which the rest is unfinished
    tls: bool = False

    async def measure(self, begin: Begin, scale: Scale) -> Figures:
        """CPU an event, memory a stream, time to the first token."""
        figures, streams = Figures(), scale.count(self.streams)
        if (files := 2 * streams + OTHER_FILES) > processes.file_limit():
            return Figures(skipped=f"it needs {files} open files, and `ulimit -Hn` allows {processes.file_limit()}")
        async with begin(tls=self.tls) as server:
            await _warm_streams(server, figures, scale)
            load = server.load("hot", Pace(scale.count(self.tokens), 50, self.gap_ms), stream=True)
            before = server.rss_kib()
            async with load.streams(streams, self.per_second), _peak(server) as peak:
                meter = Meter(server, load.tally, figures)
                await load.over(self.patience_seconds, streams)
                figures.values |= {"event_us": meter.us_an_event(), "stream_kib": (max(peak) - before) / streams}
            figures.values |= {
                "answered": load.tally.answered,
                "refused": load.tally.refused.total(),
                "first_p50_ms": percentile(load.tally.first_ms, 0.5),
                "first_p99_ms": percentile(load.tally.first_ms, 0.99),
            }
            figures.note(load.tally)
        return figures


async def _warm_streams(server: Server, figures: Figures, scale: Scale) -> None:
    """What is made once, is made: 64 streams, answered at once."""
    count = scale.count(JSON_CALLERS)
    load = server.load("hot", Pace(20), stream=True)
    async with load.streams(count, count * 2):
        await load.over(20, count)
    figures.note(load.tally)


@asynccontextmanager
async def _peak(server: Server) -> AsyncIterator[list[float]]:
    """How much memory the server has, from time to time."""

    async def sample() -> None:
        while True:
            sizes.append(server.rss_kib())
            await asyncio.sleep(0.1)

    sizes = [server.rss_kib()]
    task = asyncio.create_task(sample())
    try:
        yield sizes
    finally:
        task.cancel()


async def measure_flat(begin: Begin, scale: Scale) -> Figures:
    """CPU an event and a request, with 10, 100 and 1,000 open streams or callers: it should not depend on that.

    In turns, since the speed of a virtual machine changes within seconds.
    """
    figures, found = Figures(), defaultdict[str, list[float]](list)
    async with begin() as server:
        await _warm_streams(server, figures, scale)
        for crowd in CROWDS * scale.count(CROWD_TURNS):
            found[f"event_us_{crowd}"].append(await _crowd_event(server, crowd, scale, figures))
            async with (
                _open(server, scale.count(crowd), QUIET_GAP_MS, figures),
                _burst(server, "hot", JSON_CALLERS, scale, figures) as meter,
            ):
                found[f"beside_us_{crowd}"].append(meter.us_a_request())
            async with _burst(server, "hot", crowd, scale, figures) as meter:
                found[f"request_us_{crowd}"].append(meter.us_a_request())
    figures.values |= {name: median(values) for name, values in found.items()}
    return figures


@asynccontextmanager
async def _open(server: Server, streams: int, gap_ms: float, figures: Figures) -> AsyncIterator[Load]:
    """So many streams, which neither begin nor end meanwhile."""
    load = server.load("hot", Pace(100_000, 50, gap_ms), stream=True)
    async with load.streams(streams, CROWD_STARTS_PER_SECOND):
        await load.begun(CROWD_BEGUN_SECONDS, streams)
        yield load
    figures.note(load.tally)


async def _crowd_event(server: Server, crowd: int, scale: Scale, figures: Figures) -> float:
    async with _open(server, scale.count(crowd), 1000 * crowd / CROWD_EVENTS_PER_SECOND, figures) as load:
        await asyncio.sleep(scale.seconds(WARM_SECONDS))
        meter = Meter(server, load.tally, figures)
        await asyncio.sleep(scale.seconds(BURST_SECONDS))
        return meter.us_an_event()


async def measure_pending(begin: Begin, scale: Scale) -> Figures:
    """CPU a request, while receipts are put as they come, and while so many cannot be: it should not depend on that."""
    figures = Figures()
    async with begin() as server:
        for pending in (1, PENDING):
            server.store.throttles = pending == PENDING
            load = server.load("hot", JSON, stream=False)
            async with load.burst(scale.count(JSON_CALLERS)):
                await load.over(BURST_PATIENCE_SECONDS, scale.count(PENDING))
                meter, begun = Meter(server, load.tally, figures), load.tally.over
                await load.over(BURST_PATIENCE_SECONDS, begun + scale.count(PENDING_REQUESTS))
                figures.values[f"request_us_{pending}"] = meter.us_a_request()
            figures.note(load.tally)
        server.store.throttles = False
    return figures


ROWS: dict[str, Callable[[Begin, Scale], Awaitable[Figures]]] = {
    "start": measure_start,
    "json": measure_json,
    "event": Paced(500, 250, 100, 50, 40).measure,
    "long": Paced(500, 250, 400, 50, 60).measure,
    "tls": Paced(500, 250, 100, 50, 40, tls=True).measure,
    "full": Paced(1000, 500, 100, 50, 60).measure,
    "quiet": Paced(5000, 1000, 20, 500, 60).measure,
    "flat": measure_flat,
    "pending": measure_pending,
}
