"""What thoughts cost that are hidden but for a summary, and how long they may take."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from gptdock.dev.script import Script
from gptdock.http.caller import PING
from gptdock.ledger.rates import UNKNOWN
from gptdock.upstream.stream import Stream
from tests.harness.hostile import Fault, fault_of
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import Service

WHO = {"X-Client-Id": "c1", "X-Product-Id": "p1"}
PIECE = 500  # bytes of each event
THOUGHTS = 60 * " a"  # so many tokens, faster than any thoughts that were seen
ASKED: dict[str, dict[str, Any]] = {
    "responses": {"input": "Why?"},
    "chat/completions": {"messages": [{"role": "user", "content": "Why?"}]},
}


def told(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


def chunk(**delta: Any) -> bytes:
    return b"data: %b" % json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()


CREATED = told("response.created", response={})
REASONING = told("response.output_item.added", item={"type": "reasoning", "id": "rs", "summary": []})
SUMMARY = told("response.reasoning_summary_text.delta", delta=THOUGHTS)
TEXT = told("response.output_text.delta", delta="Hi")
DONE = told("response.output_item.done", item={"type": "message", "content": [{"type": "output_text", "text": "Hi"}]})
ERROR = told("error", code="server_error", message="Oops", param=None)
USED = {"input_tokens": 9, "output_tokens": 500, "total_tokens": 509}
FAILED = told("response.failed", response={"status": "failed", "output": [], "usage": USED})
CHAT_SUMMARY = chunk(reasoning=THOUGHTS, reasoning_details=[{"type": "reasoning.summary", "summary": THOUGHTS}])


def script(*events: bytes, hold_at: int | None = None, stall_at: int | None = None) -> Script:
    """These events, each in a write of its own; the service stands still before those numbers."""
    raw = b"".join(event.ljust(PIECE - 2) + b"\n\n" for event in (*events, b":"))
    return Script(raw=raw, piece=PIECE, hold_at=hold_at, stall_at=stall_at)


def asking(service: Service, route: str, model: str = "o4-mini"):
    body = ASKED[route] | {"model": model, "stream": True}
    return service.session.post(f"{service.url}/v1/{route}", json=body, headers=WHO)


async def read_until(response: aiohttp.ClientResponse, word: bytes) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while word not in await response.content.readuntil(b"\n\n"):
            pass


@pytest.mark.parametrize(
    ("route", "events", "seconds", "text"),
    [
        ("responses", [CREATED, REASONING, SUMMARY, SUMMARY], 4, 120),
        ("chat/completions", [CHAT_SUMMARY, CHAT_SUMMARY], 4, 120),
        ("responses", [TEXT, DONE], 2, 1),
        ("responses", [TEXT, REASONING], 2, 1),
        ("responses", [SUMMARY, TEXT], 2, 61),
        ("chat/completions", [CHAT_SUMMARY, chunk(content="Hi")], 2, 61),
    ],
    ids=["summaries", "chat: summaries", "between items", "item of thought", "text", "chat: text"],
)
async def test_thoughts_that_are_only_summed_up_cost_the_time_that_they_may_take(
    serve, upstream_clock: SimpleNamespace, route: str, events: list[bytes], seconds: int, text: int
):
    """2 s pass before the last event, and 2 s after it."""
    async with serve(openai_model="o4-mini") as service:
        last = len(events) - 1
        service.openai.script = script(*events, hold_at=last, stall_at=last + 1)
        async with asking(service, route) as response:
            await service.openai.journal.sent(last)
            await read_until(response, events[last - 1].strip()[-20:])
            upstream_clock.now += 2
            service.openai.release()
            await read_until(response, events[last].strip()[-20:])
            upstream_clock.now += 2
            response.close()
        await service.openai.journal.left()

        [receipt] = await service.receipts()
        assert (receipt["source"], receipt["completion_tokens"]) == ("counted", seconds * UNKNOWN + text)


@pytest.mark.parametrize(
    ("route", "events"),
    [("responses", [REASONING, SUMMARY]), ("chat/completions", [CHAT_SUMMARY]), ("responses", [TEXT, DONE])],
)
async def test_a_model_that_sums_its_thoughts_up_may_think_on(serve, route: str, events: list[bytes]):
    async with serve(openai_model="o4-mini", event_timeout=0.2, ping_seconds=0.05) as service:
        service.openai.script = script(*events, stall_at=len(events))
        async with asking(service, route) as response:
            for _ in range(6):
                await read_until(response, PING.strip())
            response.close()
        await service.openai.journal.left()


async def test_a_model_that_has_written_after_its_summary_may_not_think_on(serve):
    async with serve(openai_model="o4-mini", event_timeout=0.2) as service:
        service.openai.script = script(REASONING, SUMMARY, TEXT, stall_at=3)
        async with asking(service, "responses") as response:
            await read_until(response, b"upstream_timeout")


@pytest.mark.parametrize("before", [(), (CREATED,), (CREATED, TEXT)])
async def test_a_usage_that_comes_behind_an_error_is_charged(
    service: Service, before: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
):
    wait = Stream.behind_error

    def release_and_wait(stream: Stream):
        service.openai.release()
        return wait(stream)

    monkeypatch.setattr(Stream, "behind_error", release_and_wait)
    service.openai.script = script(*before, ERROR, FAILED, hold_at=len(before) + 1)
    async with asking(service, "responses", "gpt-4o-mini") as response:
        if before:
            assert b"response.failed" not in await response.read()
        else:
            assert await fault_of(response) == Fault(502, "upstream_error")

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["tokens"]) == ("upstream", 509)


async def test_a_usage_before_thoughts_is_not_what_an_answer_with_an_error_cost(serve, upstream_clock: SimpleNamespace):
    early = told("response.created", response={"usage": {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}})
    async with serve(openai_model="o4-mini") as service:
        service.openai.script = script(early, ERROR, hold_at=1)
        async with asking(service, "responses") as response:
            await read_until(response, b"created")
            upstream_clock.now += 2
            service.openai.release()
            await response.read()

        [receipt] = await service.receipts()
        assert (receipt["source"], receipt["completion_tokens"]) == ("counted", 2 * UNKNOWN)
