"""Answers of another content type, form or size than was asked for: they were generated, so they are charged."""

import asyncio
import json
from typing import Any

import pytest

from gptdock.dev.script import Script
from gptdock.routes.chat_answers import ChatFormat
from gptdock.upstream import bodies, loose_json
from gptdock.upstream.answers import SLICE_BYTES
from gptdock.upstream.sse import Event, EventSplitter
from tests.harness.answers import DONE, HELLO, read_answer, reported
from tests.harness.hostile import check_nothing_is_left, fault_of
from tests.harness.service import Service
from tests.harness.upstream_faults import BROKEN, ask_for_fault, both_ways

USAGE = {"prompt_tokens": 10, "completion_tokens": 900, "total_tokens": 910}
WHOLE = json.dumps({"choices": [{"index": 0, "message": {"content": "hello"}}], "usage": USAGE}).encode()
STREAM = HELLO + reported(10, 900, 910) + DONE
OTHER_TYPES = ["text/plain", "application/octet-stream", "text/html; charset=utf-8", "", "application/x-ndjson", "odd"]


async def test_a_good_answer_of_another_content_type_is_passed_on_and_charged(service: Service):
    answers = []
    for content_type in [*OTHER_TYPES, "text/event-stream"]:
        for raw in (WHOLE, b"\n \n" + WHOLE + b"\n\n"):
            service.openai.script = Script(raw=raw, headers={"Content-Type": content_type})
            answers += [await read_answer(service, stream=stream) for stream in (True, False)]

    assert all(b'"hello"' in body for body in answers)
    assert [body.endswith(DONE) for body in answers] == [True, False] * (len(answers) // 2)
    assert service.openai.requests == len(answers)
    await check_nothing_is_left(service, used=910 * len(answers))


async def test_a_good_stream_of_another_content_type_is_passed_on_and_charged(service: Service):
    for content_type in OTHER_TYPES:
        for piece in (7, None):
            service.openai.script = Script(raw=STREAM, piece=piece, headers={"Content-Type": content_type})
            assert await read_answer(service, stream=True) == HELLO + DONE

    await check_nothing_is_left(service, used=910 * 2 * len(OTHER_TYPES))


@both_ways
async def test_a_list_of_answers_is_charged_by_the_usage_in_it(service: Service, stream: bool):
    chunks = b'{"choices":[{"delta":{"content":"hello"}}]},{"usage":%b}' % json.dumps(USAGE).encode()
    for parts in (WHOLE, chunks):
        service.openai.script = Script(raw=b"[" + parts + b"]", content_type="application/json")
        async with service.ask(stream=stream) as response:
            assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")

    assert service.openai.requests == 2
    await check_nothing_is_left(service, used=910 * 2)


async def test_what_is_no_answer_is_free_whatever_its_content_type(service: Service):
    for raw in (b"upstream busy", b"<html>{}</html>", b"", b"\n\n", b"x" * 100_000):
        for content_type in ("text/plain", ""):
            service.openai.script = Script(raw=raw, headers={"Content-Type": content_type})
            assert [await ask_for_fault(service, stream) for stream in (True, False)] == [BROKEN] * 2

    assert await service.receipts() == []


@both_ways
async def test_a_broken_or_foreign_answer_is_counted_and_not_to_be_asked_for_again(service: Service, stream: bool):
    foreign = json.dumps({"output": {"text": "one two three"}}).encode()
    for raw, content_type in ((WHOLE[:-1], "text/plain"), (WHOLE[:-1], None), (foreign, "application/json")):
        service.openai.script = Script(raw=raw, content_type=content_type)
        async with service.ask(stream=stream) as response:
            assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")

    receipts = await service.receipts()
    assert [receipt["source"] for receipt in receipts] == ["counted"] * 3
    assert max(receipt["completion_tokens"] for receipt in receipts) >= 3


async def test_a_large_answer_to_who_asked_for_a_stream_is_charged_and_not_parsed(service: Service, monkeypatch):
    monkeypatch.setattr(bodies, "MOST_STREAMED_BYTES", 100_000)
    parsed: list[int] = []

    def noting(data: bytes) -> object:
        parsed.append(len(data))
        return loose_json.parse(data)

    monkeypatch.setattr("gptdock.upstream.answers.parse", noting)
    for usage in (USAGE, None):
        text: dict[str, Any] = {"choices": [{"message": {"content": "word " * 40_000}}], "usage": usage}
        service.openai.script = Script(raw=json.dumps(text).encode(), content_type="application/json")
        async with service.ask(stream=True) as response:
            assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")

    exact, counted = await service.receipts_as_asked()
    assert (exact["tokens"], counted["tokens"]) == (910, counted["prompt_tokens"] + 1008)
    assert sum(parsed) < 1000


@pytest.mark.parametrize("stream", [True, False])
async def test_a_usage_within_a_choice_is_charged(service: Service, stream: bool):
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]}
    whole = {"choices": [{"index": 0, "message": {"content": "hello"}, "usage": USAGE}]}
    raw = HELLO + b"data: %b\n\n" % json.dumps(last).encode() + DONE if stream else json.dumps(whole).encode()
    service.openai.script = Script(raw=raw)

    await read_answer(service, stream=stream)

    await check_nothing_is_left(service, used=910)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("first", [True, False], ids=["usage first", "usage last"])
async def test_of_an_answer_that_is_too_large_the_usage_is_charged(service: Service, monkeypatch, first: bool, stream):
    monkeypatch.setattr(ChatFormat, "most_bytes", 100_000)
    monkeypatch.setattr(bodies, "MOST_STREAMED_BYTES", 100_000)
    text: dict[str, Any] = {"choices": [{"message": {"content": "usage " * 100_000}}]}
    service.openai.script = Script(
        content_type="application/json",
        raw=json.dumps({"usage": USAGE} | text if first else text | {"usage": USAGE}).encode(),
    )

    async with service.ask(stream=stream) as response:
        assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")

    assert service.openai.requests == 1
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("upstream", "upstream_error")
    await check_nothing_is_left(service, used=910)


@pytest.mark.parametrize("usage", [None, "odd", {"total_tokens": 0}])
async def test_an_answer_that_is_too_large_and_has_no_usage_is_counted(service: Service, monkeypatch, usage: Any):
    monkeypatch.setattr(ChatFormat, "most_bytes", 100_000)
    monkeypatch.setattr(bodies, "MOST_STREAMED_BYTES", 100_000)
    answer = {"choices": [{"message": {"content": "word " * 100_000}}], "usage": usage}
    service.openai.script = Script(content_type="application/json", raw=json.dumps(answer).encode())

    assert await ask_for_fault(service, stream=False) == BROKEN

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["tokens"]) == ("counted", receipt["prompt_tokens"] + 1008)  # all of the hold


@pytest.mark.parametrize("usage", [USAGE, None])
async def test_an_answer_that_is_nested_too_deeply_for_an_event_is_charged(service: Service, usage: Any):
    call = {"function": {"name": "f", "arguments": {"word " * 40: "nested"}}}
    answer = {"choices": [{"message": {"tool_calls": [call]}}], "usage": usage}
    raw = json.dumps(answer).replace('"nested"', "[" * 985 + "]" * 985)
    service.openai.script = Script(content_type="application/json", raw=raw.encode())

    async with service.ask(stream=True) as response:
        assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")

    [receipt] = await service.receipts()
    assert receipt["source"] == ("upstream" if usage else "counted")
    assert receipt["tokens"] == 910 if usage else receipt["completion_tokens"] > 40
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_a_stream_in_place_of_a_whole_answer_lets_others_have_their_turns(service: Service, monkeypatch):
    turns = 0
    seen: list[tuple[int, int]] = []
    feed = EventSplitter.feed

    def noting(splitter: EventSplitter, data: bytes) -> list[Event]:
        seen.append((turns, len(data)))
        return feed(splitter, data)

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(EventSplitter, "feed", noting)
    service.openai.script = Script(raw=b"data: {}\n\n" * 20_000 + STREAM, content_type="text/event-stream")
    other = asyncio.create_task(take_turns())
    try:
        assert await ask_for_fault(service, stream=False) == BROKEN
    finally:
        other.cancel()

    slices = [turn for turn, size in seen if size > 2]
    assert max(size for _, size in seen) <= SLICE_BYTES
    assert len(slices) == len(set(slices)) > 10
    await check_nothing_is_left(service, used=910)


async def test_a_stream_in_place_of_a_whole_answer_is_read_up_to_a_limit(service: Service, monkeypatch):
    monkeypatch.setattr(ChatFormat, "most_bytes", 10_000)
    service.openai.script = Script(raw=b"data: {}\n\n" * 2_000 + STREAM, content_type="text/event-stream")

    assert await ask_for_fault(service, stream=False) == BROKEN

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["tokens"]) == ("counted", receipt["prompt_tokens"] + 1008)  # all of the hold


@both_ways
async def test_an_answer_with_another_good_status_is_passed_on_and_charged(service: Service, stream: bool):
    for status in (201, 203):
        service.openai.script = Script(status=status, raw=STREAM if stream else WHOLE)
        assert await read_answer(service, stream=stream) == (HELLO + DONE if stream else WHOLE)

    assert service.openai.requests == 2
    await check_nothing_is_left(service, used=910 * 2)


@both_ways
async def test_what_was_generated_in_spite_of_the_status_is_charged_and_not_asked_again(service: Service, stream):
    error = json.dumps({"error": {"message": "No."}, "usage": USAGE}).encode()
    for status, raw in ((500, WHOLE), (400, WHOLE), (429, error), (500, error)):
        service.openai.script = Script(status=status, raw=raw, content_type="application/json")
        async with service.ask(stream=stream) as response:
            assert (response.status, response.headers["x-should-retry"]) == (429 if status == 429 else 502, "false")

    assert service.openai.requests == 4
    await check_nothing_is_left(service, used=910 * 4)


@pytest.mark.parametrize("size", [100_000, 2 * 2**20])
async def test_a_large_answer_in_spite_of_the_status_is_charged(service: Service, size: int):
    whole = json.dumps(json.loads(WHOLE) | {"choices": [{"message": {"content": "x" * size}}], "usage": USAGE})
    service.openai.script = Script(status=500, raw=whole.encode(), content_type="application/json")

    assert await ask_for_fault(service, stream=False) == BROKEN

    assert service.openai.requests == 1
    await check_nothing_is_left(service, used=910)


async def test_text_in_spite_of_the_status_is_counted_and_a_usage_of_zero_is_free(service: Service, quick):
    raw = json.dumps({"choices": [{"message": {"content": "one two three"}}]}).encode()
    service.openai.script = Script(status=500, raw=raw, content_type="application/json")
    assert await ask_for_fault(service, stream=False) == BROKEN
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["completion_tokens"]) == ("counted", 3)

    raw = b'{"error": {"message": "No."}, "usage": {"total_tokens": 0}}'
    service.openai.script = Script(status=500, raw=raw, content_type="application/json")
    assert await ask_for_fault(service, stream=False) == BROKEN
    assert service.openai.requests == 1 + 3
    await check_nothing_is_left(service, used=receipt["tokens"])
