"""The relay, through the whole service: an answer comes out as it went in, and is charged once."""

import asyncio
import json
from typing import Any

import pytest

from gptdock.dev.script import Script
from tests.harness.answers import RECORDED, USAGE_OF_5, read_answer
from tests.harness.hostile import AUTHORIZED, check_nothing_is_left, connect, question, request
from tests.harness.service import Service, sse_data

pytestmark = pytest.mark.usefixtures("each_flow")


async def test_the_recorded_stream_comes_out_as_it_went_in(serve):
    async with serve(openai_model="gpt-3.5-turbo") as service:
        service.openai.script = Script(raw=RECORDED, piece=7)

        async with service.ask(stream=True) as response:
            body = await response.read()

        assert body == RECORDED
        [receipt] = await service.receipts()
    assert (receipt["completion_tokens"], receipt["source"], receipt["outcome"]) == (51, "counted", "complete")


async def test_a_whole_answer_comes_out_as_it_went_in_and_is_charged_by_its_usage(service: Service):
    async with service.ask() as response:
        answer = await response.json()

    assert answer["choices"][0]["message"]["content"]
    await check_nothing_is_left(service, used=answer["usage"]["total_tokens"])


async def test_a_stream_ends_with_done_and_hides_the_usage_chunk(service: Service):
    async with service.ask(stream=True) as response:
        events = sse_data(await response.read())

    assert events[-1] == b"[DONE]"
    assert not any(json.loads(event)["choices"] == [] for event in events[:-1])
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_events_are_passed_on_as_they_come(service: Service):
    service.openai.script = Script(hold_at=3)

    async with service.ask(stream=True) as response:
        first = b"".join([await response.content.readuntil(b"\n\n") for _ in range(3)])
        service.openai.release()
        rest = await response.read()

    assert len(sse_data(first)) == 3
    assert rest.endswith(b"data: [DONE]\n\n")


async def test_the_upstream_is_asked_for_usage_and_for_no_more_than_was_held(service: Service):
    async with service.ask(stream=True) as response:
        await response.read()

    asked = service.openai.journal[0].request
    assert asked["stream_options"] == {"include_usage": True}
    assert (asked["n"], asked["max_completion_tokens"], asked["model"]) == (1, 1000, "gpt-4o-mini")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "usage", [False, None, {"total_tokens": -1}, {"total_tokens": "9"}, {"total_tokens": True}, {}, "many", 7]
)
async def test_an_answer_without_a_valid_usage_is_counted(service: Service, usage: Any, stream: bool):
    service.openai.script = Script(tokens=20, usage=usage)

    body = await read_answer(service, stream=stream)

    assert body
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "complete")
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("total", [1, 100_000])
async def test_a_reported_usage_is_charged_even_if_it_is_above_the_hold(service: Service, total: int, stream: bool):
    service.openai.script = Script(usage={"total_tokens": total, "prompt_tokens": 0, "completion_tokens": total})

    await read_answer(service, stream=stream)

    await check_nothing_is_left(service, used=total)


@pytest.mark.parametrize("line_ending", ["\n", "\r", "\r\n"])
async def test_any_line_ending_and_any_split_gives_the_same_bytes(service: Service, line_ending: str):
    raw = RECORDED.replace(b"\n", line_ending.encode())
    service.openai.script = Script(raw=raw, piece=1)

    async with service.ask(stream=True) as response:
        assert await response.read() == RECORDED


async def test_events_without_text_are_passed_on_as_they_are(service: Service):
    chunks = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]},
        {"choices": [{"index": 0, "delta": {"refusal": "no"}}], "novelty": [1, {"a": None}]},
        {"choices": [], "prompt_filter_results": []},
    ]
    shown = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    service.openai.script = Script(raw=shown + USAGE_OF_5 + b"data: [DONE]\n\n")

    async with service.ask(stream=True) as response:
        assert await response.read() == shown + b"data: [DONE]\n\n"

    await check_nothing_is_left(service, used=5)


@pytest.mark.parametrize("piece", [1, 2, 3, 1000])
async def test_odd_events_leave_as_the_api_says_wherever_they_are_cut(service: Service, piece: int):
    words = [json.dumps({"choices": [{"delta": {"content": text}}]}, ensure_ascii=False) for text in "é🦆\u2028\x85"]
    odd = (
        f"\ufeffdata: {words[0]}\n\n"
        f": a comment\ndata:{words[1]}\r\n\r\n"
        f"event: x\nid: 7\nretry: 1\ndata: {words[2]}\n\n"
        f"data: {words[3].replace(', ', ',' + chr(10) + 'data:')}\r\r"
        f": another\n\nevent: ping\n\ndata:\n\n"
    ).encode()
    service.openai.script = Script(raw=odd + USAGE_OF_5 + b"data:[DONE]\r\n\r\n", piece=piece)

    async with service.ask(stream=True) as response:
        body = await response.read()

    assert sse_data(body) == [*(word.encode() for word in words), b"[DONE]"]
    assert b"\r" not in body
    await check_nothing_is_left(service, used=5)


async def test_a_line_without_end_is_cut_off(service: Service):
    service.openai.script = Script(raw=RECORDED.removesuffix(b"data: [DONE]\n\n") + b"data: " + b"x" * (5 * 2**20))

    async with service.ask(stream=True) as response:
        events = sse_data(await response.read())

    assert json.loads(events[-1])["error"]["code"] == "upstream_error"


async def test_a_line_of_two_megabytes_is_passed_on(service: Service):
    text = {"choices": [{"index": 0, "delta": {"content": "long"}}], "padding": "long " * 400_000}
    raw = b"data: " + json.dumps(text).encode() + b"\n\ndata: [DONE]\n\n"
    service.openai.script = Script(raw=raw)

    async with service.ask(stream=True) as response:
        assert await response.read() == raw


async def test_a_hundred_streams_at_once_are_all_whole_and_charged(service: Service):
    service.openai.script = Script(tokens=30, hold_at=3)

    asking = [asyncio.create_task(read_answer(service, stream=True, client_id=f"c{i % 7}")) for i in range(100)]
    await service.openai.journal.until(lambda: sum(record.events >= 3 for record in service.openai.journal) == 100)
    service.openai.release()
    bodies = await asyncio.gather(*asking)

    assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
    used = [(await service.info(f"c{i}"))["quota_used"] for i in range(7)]
    assert sum(used) == sum(record.spent for record in service.openai.journal)


async def test_a_short_quota_gives_a_shorter_answer(serve):
    async with serve(default_token_quota=120) as service:
        service.openai.script = Script(tokens=100)
        async with service.ask() as response:
            answer = await response.json()

        [record] = service.openai.journal
        assert answer["choices"][0]["finish_reason"] == "length"
        assert record.request["max_completion_tokens"] == 120 - record.prompt_tokens - 8
        info = await service.info()
        assert info["quota_used"] == record.spent <= 120


async def test_a_stream_to_http_1_0_has_no_chunks(service: Service):
    service.openai.script = Script(tokens=20)

    async with connect(service) as connection:
        connection.send(
            request("POST", "/v1/ask", AUTHORIZED, question(stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        )
        _, _, body = (await connection.rest()).partition(b"\r\n\r\n")

    assert sse_data(body)[-1] == b"[DONE]"
    assert all(event.startswith(b"data: ") for event in body.split(b"\n\n") if event)
