"""Bodies of another kind, coding or size than was asked for: what the caller gets, and what they cost."""

import gzip
import json
import logging
import zlib
from typing import Any

import pytest

from gptdock.dev.script import Script
from gptdock.upstream import loose_json
from gptdock.upstream.sse import Event, EventSplitter
from tests.harness.answers import DONE, HELLO, read_answer, reported
from tests.harness.hostile import Fault, check_nothing_is_left, fault_of
from tests.harness.service import Service, sse_data
from tests.harness.upstream_faults import BROKEN, ask_for_fault, check_counted_once

USAGE = {"prompt_tokens": 10, "completion_tokens": 900, "total_tokens": 910}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGE = {"role": "assistant", "content": "hello", "tool_calls": [CALL]}
ANSWER: dict[str, Any] = {
    "id": "c-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": USAGE,
}
WHOLE = json.dumps(ANSWER).encode()
STREAM = HELLO + reported(10, 900, 910) + DONE


def whole(raw: bytes = WHOLE, **fields: Any) -> Script:
    return Script(raw=raw, content_type="application/json; charset=utf-8", **fields)


async def test_a_whole_answer_to_who_asked_for_a_stream_is_one_event_and_done(service: Service):
    service.openai.script = whole()

    async with service.ask(stream=True) as response:
        assert response.content_type == "text/event-stream"
        event, done = sse_data(await response.read())

    assert done == b"[DONE]"
    assert json.loads(event) == {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "choices": [
            {"index": 0, "delta": MESSAGE | {"tool_calls": [{"index": 0} | CALL]}, "finish_reason": "stop"},
        ],
        "usage": None,
    }
    assert service.openai.requests == 1
    await check_nothing_is_left(service, used=910)


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": 0}])
async def test_a_whole_answer_without_usage_to_who_asked_for_a_stream_is_counted(service: Service, usage: Any):
    service.openai.script = whole(json.dumps(ANSWER | {"usage": usage}).encode())

    assert len(sse_data(await read_answer(service, stream=True))) == 2

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"], receipt["completion_tokens"]) == ("counted", "complete", 3)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b'{"error": {"code": "rate_limit_exceeded"}}', Fault(429, "rate_limited")),
        (b'{"error": {"code": "context_length_exceeded"}}', Fault(400, "context_length_exceeded")),
        (b'{"error": "No."}', BROKEN),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_with_a_good_status_has_its_own_and_is_free(service: Service, raw: bytes, fault: Fault, stream):
    service.openai.script = whole(raw)

    assert await ask_for_fault(service, stream) == fault

    assert await service.receipts() == []


@pytest.mark.parametrize("raw", [WHOLE[:-1], WHOLE[: len(WHOLE) // 2], b"hello"])
async def test_a_whole_answer_that_broke_off_is_counted_also_where_a_stream_was_asked_for(service: Service, raw: bytes):
    service.openai.script = whole(raw)

    async with service.ask(stream=True) as response:
        assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")

    await check_counted_once(service)


@pytest.mark.parametrize(("raw", "used"), [(STREAM, 910), (STREAM.replace(b"\n", b"\r\n"), 910), (HELLO + DONE, None)])
async def test_a_stream_to_who_asked_for_a_whole_answer_is_charged(service: Service, raw: bytes, used: int | None):
    service.openai.script = Script(raw=raw, content_type="text/event-stream")

    async with service.ask() as response:
        assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("upstream" if used else "counted", "upstream_error")
    await check_nothing_is_left(service, used=used or receipt["prompt_tokens"] + 1)


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = [
    ("gzip", gzip.compress),
    ("GZIP", gzip.compress),
    *[(name, gzip.compress) for name in ("x-gzip", "X-Gzip", "x-GZIP", "X-GZIP")],
    ("deflate", zlib.compress),
    ("deflate", deflated),
]


@pytest.mark.usefixtures("each_flow")
@pytest.mark.parametrize("piece", [1, 7, None])
@pytest.mark.parametrize(("coding", "pack"), PACKED)
async def test_a_packed_stream_is_unpacked_and_charged_exactly(service: Service, coding: str, pack: Any, piece: Any):
    service.openai.script = Script(raw=pack(STREAM), piece=piece, headers={"Content-Encoding": coding})

    async with service.ask(stream=True) as response:
        assert await response.read() == HELLO + DONE
        assert "Content-Encoding" not in response.headers

    await check_nothing_is_left(service, used=910)


@pytest.mark.parametrize(("coding", "pack"), PACKED)
async def test_a_packed_whole_answer_is_unpacked_and_charged_exactly(service: Service, coding: str, pack: Any):
    service.openai.script = Script(raw=pack(WHOLE), headers={"Content-Encoding": coding})

    assert await read_answer(service) == WHOLE

    await check_nothing_is_left(service, used=910)


async def test_a_packed_refusal_is_understood(service: Service):
    packed = gzip.compress(b'{"error": {"code": "context_length_exceeded"}}')
    service.openai.script = Script(status=400, raw=packed, headers={"Content-Encoding": "gzip"})

    assert await ask_for_fault(service, stream=False) == Fault(400, "context_length_exceeded")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("coding", ["x-secret", "gzip, br", "compress"])
async def test_an_unknown_coding_is_charged_by_count_and_logged(service: Service, caplog, coding: str, stream: bool):
    service.openai.script = Script(raw=b"\x00\x01", headers={"Content-Encoding": coding})

    async with service.ask(stream=stream) as response:
        assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")

    assert "upstream sent an unknown content encoding" in caplog.text
    assert service.openai.requests == 1
    await check_counted_once(service)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("raw", [STREAM, gzip.compress(STREAM)[:-20]])
async def test_a_body_that_cannot_be_unpacked_is_charged_by_count(service: Service, raw: bytes, stream: bool):
    service.openai.script = Script(raw=raw, headers={"Content-Encoding": "gzip"})

    await read_answer(service, stream=stream)

    [receipt] = await service.receipts()
    assert receipt["outcome"] == "upstream_error"
    assert receipt["tokens"] > 0


@pytest.mark.usefixtures("each_flow")
@pytest.mark.parametrize("filling", [b"data: " + b"a" * (2**25 - 6), HELLO[:-2] + b" " * 2**20 + b"\n\n"])
async def test_few_bytes_that_become_many_are_taken_in_parts(service: Service, monkeypatch, filling: bytes):
    fed: list[int] = []
    feed = EventSplitter.feed

    def noting(splitter: EventSplitter, data: bytes) -> list[Event]:
        fed.append(len(data))
        return feed(splitter, data)

    monkeypatch.setattr(EventSplitter, "feed", noting)
    packer = zlib.compressobj(wbits=31)
    begun = packer.compress(HELLO) + packer.flush(zlib.Z_SYNC_FLUSH)
    times = max(1, 2**24 // len(filling))
    packed = packer.compress(filling * times + reported(10, 20, 30) + DONE) + packer.flush()
    service.openai.script = Script(raw=begun + packed, headers={"Content-Encoding": "gzip"})

    body = await read_answer(service, stream=True)

    assert max(fed) < 2**21
    assert body.endswith(DONE) == (times > 1)


async def test_an_identity_is_no_coding(service: Service):
    service.openai.script = Script(raw=STREAM, headers={"Content-Encoding": "identity"})

    assert await read_answer(service, stream=True) == HELLO + DONE


async def test_a_large_answer_is_not_parsed_but_for_its_usage(service: Service, monkeypatch):
    parsed: list[int] = []

    def noting(data: bytes) -> object:
        parsed.append(len(data))
        return loose_json.parse(data)

    monkeypatch.setattr("gptdock.upstream.answers.parse", noting)
    tokens = [{"token": "usage", "logprob": -0.1, "bytes": [1], "top_logprobs": []}] * 20_000
    raw = json.dumps(ANSWER | {"choices": [{"message": MESSAGE, "logprobs": tokens}], "usage": USAGE}).encode()
    service.openai.script = whole(raw)

    assert await read_answer(service) == raw

    assert len(raw) > 1_400_000
    assert sum(parsed) < 200
    await check_nothing_is_left(service, used=910)


async def test_no_answer_is_logged_by_any_of_this(service: Service, caplog):
    caplog.set_level(logging.DEBUG, logger="gptdock")
    for script in (whole(), Script(raw=STREAM, content_type="text/event-stream", headers={"Content-Encoding": "odd"})):
        service.openai.script = script
        await read_answer(service, stream=script.content_type != "text/event-stream")

    assert "hello" not in caplog.text
