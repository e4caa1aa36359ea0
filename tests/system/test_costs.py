"""What a request and an event may cost, counted: calls, writes, tasks, timers, JSON parses and lines, never time.

Each bound is what it takes today and a little more. A change that needs more should say why.
"""

import asyncio
import inspect
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from types import FrameType
from typing import Any

import pytest

from gptdock.dev.script import Script
from gptdock.ledger import aws, rates
from gptdock.upstream import loose_json, meter
from tests.harness.ours import is_our_file, is_our_module
from tests.harness.service import Service

EVENTS = 200
REQUESTS = 20
CROWDS = (2, 40)  # streams
OPEN = 200  # streams, of which a loop would take as many lines
NO_RENEWALS = {"progress_seconds": 1000, "lease_seconds": 3600}  # they are of all streams, every few seconds


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the calls of DynamoDB by operation, and what is parsed by the meter, from now on."""
    counted: Counter[str] = Counter()
    call, parse = aws.call, loose_json.parse

    async def counting_call(client: aws.Client, operation: str, **parameters: Any) -> Any:
        counted[operation] += 1
        return await call(client, operation, **parameters)

    def counting_parse(data: bytes) -> Any:
        counted["parse"] += 1
        return parse(data)

    monkeypatch.setattr(aws, "call", counting_call)
    monkeypatch.setattr(meter, "parse", counting_parse)
    # On a busy machine a request takes longer than this, and renews its will: one more write, and a timer.
    monkeypatch.setattr(rates, "FIRST_RENEWAL_SECONDS", 60.0)
    return counted


@contextmanager
def counting(loop: asyncio.AbstractEventLoop, counts: Counter[str]) -> Iterator[None]:
    """Counts the timers that code of GPTDock or its server arms, and the tasks that GPTDock starts."""
    call_at, factory = loop.call_at, loop.get_task_factory()

    def counting_call_at(when: float, callback: Callable[..., Any], *args: Any, **more: Any) -> asyncio.TimerHandle:
        if _is_ours(callback):
            counts["timers"] += 1
        return call_at(when, callback, *args, **more)

    def counting_tasks(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> "asyncio.Task[Any]":
        counts["tasks"] += inspect.iscoroutine(work) and is_our_file(work.cr_code.co_filename)
        return asyncio.Task(work, loop=loop, **more)

    loop.call_at = counting_call_at  # type: ignore[method-assign, assignment]
    loop.set_task_factory(counting_tasks)
    try:
        yield
    finally:
        loop.call_at = call_at  # type: ignore[method-assign]
        loop.set_task_factory(factory)


@contextmanager
def counting_lines(counts: Counter[str]) -> Iterator[None]:
    """Counts the lines of GPTDock that are executed, those of a loop each time."""

    def count(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        counts["lines"] += event == "line"
        return count

    def enter(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        return count if is_our_file(frame.f_code.co_filename) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


def _is_ours(callback: Any) -> bool:
    owner = getattr(callback, "__self__", None)
    return is_our_module(type(owner).__module__) or is_our_module(getattr(callback, "__module__", None) or "")


async def test_an_event_takes_no_task_no_timer_and_one_parse_at_most(service: Service, counts: Counter[str]):
    """A stream of 200 events takes as many tasks, timers and writes as one of 20."""
    loop, spent = asyncio.get_running_loop(), []
    for events in (EVENTS // 10, EVENTS):
        service.openai.script = Script(tokens=events, token_seconds=0.001)
        counts.clear()
        with counting(loop, counts):
            async with service.ask(stream=True) as response:
                await response.read()
            await service.ledger.settled()
        spent.append({name: counts[name] for name in ("tasks", "timers", "parse", "update_item", "batch_write_item")})

    short, long = spent
    assert long.pop("parse") <= EVENTS + 4  # the first and the last few at once, the others when they are folded
    assert all(long[name] <= short[name] + 2 for name in long), spent
    assert long["timers"] <= 8


async def test_an_event_takes_as_few_lines_beside_many_streams_as_beside_few(serve, counts: Counter[str]):
    async with serve(**NO_RENEWALS) as service:
        few, many = [await _lines_an_event(service, counts, streams) for streams in CROWDS]

    assert many <= few + CROWDS[1] / 2


async def _lines_an_event(service: Service, counts: Counter[str], streams: int) -> float:
    """Of longer streams there are more events, and else nothing."""
    lines = []
    for events in (EVENTS // 10, EVENTS // 2):
        service.openai.script = Script(tokens=events, token_seconds=0.001)
        counts.clear()
        with counting_lines(counts):
            await asyncio.gather(*(_ask(service, stream=True) for _ in range(streams)))
        lines.append(counts["lines"])
    return (lines[1] - lines[0]) / (EVENTS // 2 - EVENTS // 10) / streams


async def test_a_request_takes_as_few_lines_beside_many_streams_as_beside_none(serve, counts: Counter[str]):
    async with serve(**NO_RENEWALS) as service, AsyncExitStack() as stack:
        none = await _lines_a_request(service, counts)
        service.openai.script = Script(token_seconds=3600)
        for _ in range(OPEN):
            response = await stack.enter_async_context(service.ask(stream=True))
            await response.content.readany()
        service.openai.script = Script()
        many = await _lines_a_request(service, counts)

    assert many <= none + OPEN / 2


async def _lines_a_request(service: Service, counts: Counter[str]) -> float:
    counts.clear()
    with counting_lines(counts):
        for _ in range(REQUESTS):
            await _ask(service)
    return counts["lines"] / REQUESTS


async def test_requests_of_one_client_share_their_writes(service: Service, counts: Counter[str]):
    async with service.ask() as response:
        await response.read()
    await service.ledger.settled()
    counts.clear()

    bodies = await asyncio.gather(*(_ask(service) for _ in range(REQUESTS)))
    await service.ledger.settled()

    assert all(json.loads(body)["usage"]["total_tokens"] for body in bodies)
    assert counts["update_item"] <= REQUESTS
    assert counts["batch_write_item"] <= REQUESTS
    assert counts["get_item"] == counts["transact_write_items"] == 0


async def test_a_request_alone_takes_two_writes_and_a_receipt(service: Service, counts: Counter[str]):
    await _ask(service)
    await service.ledger.settled()
    counts.clear()

    await _ask(service)
    await service.ledger.settled()

    assert (counts["update_item"], counts["batch_write_item"]) == (2, 1)
    assert counts["get_item"] == counts["transact_write_items"] == 0


async def _ask(service: Service, **fields: Any) -> bytes:
    async with service.ask(**fields) as response:
        return await response.read()
