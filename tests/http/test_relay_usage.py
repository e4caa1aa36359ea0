"""What a stream or an answer is charged, whatever stands beside its text and its usage."""

import json
from typing import Any

import pytest

from gptdock.dev.script import Script
from tests.harness.answers import DONE, HELLO, read_answer, reported
from tests.harness.hostile import check_nothing_is_left
from tests.harness.service import Service, sse_data

SILENT = [
    b"{}",
    b"[]",
    b"null",
    b'"ping"',
    b'{"type":"ping"}',
    b'{"choices":null}',
    b'{"choices":[]}',
    b'{"choices":[{"index":0,"delta":null}]}',
    b'{"choices":[{"index":0,"delta":{"content":null}}]}',
    b'{"choices":[{"index":0,"delta":{"content":7,"tool_calls":[null],"refusal":{}}}]}',
    b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":null}]}}]}',
    b'{"choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{"check_offset":7}}],"usage":null}',
    b'{"choices":[],"obfuscation":"x7Jq"}',
]


def data(*frames: bytes) -> bytes:
    return b"".join(b"data: " + frame + b"\n\n" for frame in frames)


@pytest.mark.parametrize("frame", SILENT)
async def test_a_frame_without_text_leaves_the_usage_that_came(service: Service, frame: bytes):
    service.openai.script = Script(raw=HELLO + data(frame) + reported(10, 20, 30) + data(frame) + DONE)

    body = await read_answer(service, stream=True)

    assert sse_data(body) == [*sse_data(HELLO), frame, frame, b"[DONE]"]
    await check_nothing_is_left(service, used=30)


async def test_frames_without_text_cost_nothing_in_an_answer_that_is_cut(service: Service):
    for frames in (b"", data(*SILENT) * 20):
        service.openai.script = Script(raw=HELLO + frames)
        await read_answer(service, stream=True)

    alone, among = await service.receipts_as_asked()
    assert (alone["source"], alone["completion_tokens"]) == ("counted", 1)
    assert (among["source"], among["completion_tokens"]) == ("counted", 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_what_was_cached_and_thought_is_on_the_receipt_and_in_reports(service: Service, stream: bool):
    details = {"prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 5}}
    service.openai.script = Script(usage=usage_of(10, 20, 30) | details)

    await read_answer(service, stream=stream)

    [receipt] = await service.receipts()
    assert (receipt["cached_tokens"], receipt["reasoning_tokens"]) == (8, 5)
    async with service.admin("GET", "client/usage", by="user") as response:
        [row] = (await response.json())["rows"]
    assert row == {"user": "u7", "requests": 1} | {name: receipt[name] for name in row if name.endswith("tokens")}
    assert (row["tokens"], row["cached_tokens"], row["reasoning_tokens"]) == (30, 8, 5)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("usage", "used"),
    [
        ((10, 20, 0), 30),
        ((10, 20, 7), 30),
        ((10, 20, None), 30),
        ((10, 20, -1), 30),
        ((10, 20, "30"), 30),
        ((10.0, 20.0, 30.0), 30),
        ((10, 20, 500), 500),
        ((None, None, 30), 30),
        ((-10, 10**12, 30), 30),
    ],
)
async def test_of_a_usage_s_numbers_the_higher_is_charged(service: Service, usage: Any, used: int, stream: bool):
    service.openai.script = Script(usage=usage_of(*usage))

    await read_answer(service, stream=stream)

    await check_nothing_is_left(service, used=used)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "usage", [(0, 0, 0), (None, None, 0), (10, 0, 10), (10, None, 10), (None, 20, None), (1e400, 20, None)]
)
async def test_a_usage_that_cannot_be_true_is_replaced_by_a_count(service: Service, usage: Any, stream: bool):
    service.openai.script = Script(tokens=20, usage=usage_of(*usage))

    await read_answer(service, stream=stream)

    [receipt] = await service.receipts()
    assert receipt["source"] == "counted"
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


@pytest.mark.parametrize(
    ("stream", "used"),
    [
        (reported(0, 0, 0) + DONE, 0),
        (HELLO + reported(1, 1, 2) + HELLO + reported(10, 20, 30) + DONE, 30),
        (HELLO + reported(10, 20, 30) + reported(0, 0, 0) + DONE, 30),
        (HELLO + reported(10, 20, 30) + data(b'{"usage":{}}') + DONE, 30),
        (HELLO + reported(10, 20, 30) + reported(10, 20, 31) + DONE, 31),
        (HELLO + reported(10, 900, 910) + reported(10, 1, 11) + DONE, 910),
        (HELLO + reported(10, 900, 910) + HELLO + reported(10, 1, 11) + DONE, 11),
        (reported(10, 20, 30) + DONE, 30),
    ],
)
async def test_the_highest_usage_after_the_last_text_is_charged(service: Service, stream: bytes, used: int):
    service.openai.script = Script(raw=stream)

    await read_answer(service, stream=True)

    await check_nothing_is_left(service, used=used)


def usage_of(*numbers: object) -> dict[str, object]:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: number for name, number in zip(names, numbers, strict=True) if number is not None}


@pytest.mark.parametrize(
    "field",
    [
        {"content": "hello"},
        {"content": [{"type": "text", "text": "hello"}]},
        {"refusal": "hello"},
        {"reasoning_content": "hello"},
        {"reasoning": "hello"},
        {"function_call": {"name": "hello"}},
        {"tool_calls": [{"index": 0, "function": {"arguments": "hello"}}]},
        {"audio": {"transcript": "hello"}},
    ],
)
async def test_text_in_any_known_field_makes_usage_stale_and_counts_when_cut(service: Service, field: Any):
    frame = json.dumps({"choices": [{"index": 0, "delta": field}]}).encode()
    service.openai.script = Script(raw=reported(10, 20, 30) + data(frame))

    await read_answer(service, stream=True)

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["completion_tokens"]) == ("counted", 1)


@pytest.mark.parametrize("usage", [(0, 0, 0), (10, 0, 10), (10, None, 10)])
async def test_a_usage_before_anything_was_generated_does_not_make_a_cut_stream_free(service: Service, usage: Any):
    service.openai.script = Script(raw=reported(*usage))

    await read_answer(service, stream=True)

    [receipt] = await service.receipts()
    prompt_tokens = service.openai.journal[0].prompt_tokens
    assert (receipt["source"], receipt["tokens"]) == ("counted", prompt_tokens)


@pytest.mark.parametrize(
    ("stream", "used"),
    [
        (reported(10, 0, 10) + DONE, 10),
        (reported(10, 20, 30), 30),
        (reported(None, None, 30), 30),
        (HELLO + reported(10, 1, 11), 11),
        (data(b"{}") + reported(10, 0, 10) + data(b'{"error":{"message":"x"}}'), 10),
    ],
)
async def test_a_usage_after_something_was_generated_is_charged_also_if_cut(service: Service, stream: bytes, used: int):
    service.openai.script = Script(raw=stream)

    await read_answer(service, stream=True)

    await check_nothing_is_left(service, used=used)


@pytest.mark.parametrize("nothing", [b"{}", b"[]", b"null", b'""', b"false", b"0"])
async def test_an_empty_error_beside_text_is_none(service: Service, nothing: bytes):
    frame = b'{"error":%b,"choices":[{"index":0,"delta":{"content":"hello"}}]}' % nothing
    service.openai.script = Script(raw=data(frame) + reported(10, 20, 30) + DONE)

    assert sse_data(await read_answer(service, stream=True)) == [frame, b"[DONE]"]

    await check_nothing_is_left(service, used=30)


async def test_an_empty_error_alone_is_an_error(service: Service):
    service.openai.script = Script(raw=HELLO + reported(10, 20, 30) + data(b'{"error":{}}', b"{}"))
    _, error = sse_data(await read_answer(service, stream=True))
    assert json.loads(error)["error"]["code"] == "upstream_error"
    await check_nothing_is_left(service, used=30)

    service.openai.script = Script(raw=data(b'{"error":{}}'))
    async with service.ask(stream=True) as response:
        assert response.status == 502


@pytest.mark.parametrize("piece", [None, 40])
@pytest.mark.parametrize(
    "first", [data(b"null", b"[]"), b"event: ping\ndata: ping\n\n", b'event:ping\ndata: {"type":"ping"}\n\n']
)
async def test_a_stream_may_begin_with_events_that_say_nothing(service: Service, first: bytes, piece: int | None):
    service.openai.script = Script(raw=first + HELLO + first + reported(10, 20, 30) + DONE, piece=piece)

    body = await read_answer(service, stream=True)

    assert [each for each in sse_data(body) if each not in (b"null", b"[]")] == [*sse_data(HELLO), b"[DONE]"]
    assert service.openai.requests == 1
    await check_nothing_is_left(service, used=30)


@pytest.mark.parametrize("later", [b"{}", b'{"choices":[]}', HELLO[6:-2], b"[DONE]"])
async def test_a_frame_after_an_error_costs_nothing(service: Service, later: bytes):
    service.openai.script = Script(raw=data(b'{"error":{"message":"Oh"}}', later))

    async with service.ask(stream=True) as response:
        assert response.status == 502

    await check_nothing_is_left(service, used=0)
