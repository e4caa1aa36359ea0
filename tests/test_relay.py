"""The relay, through the whole service: what the caller sees, and what it costs."""

from pathlib import Path

from gptdock.dev.script import Script
from tests.service import Service, sse_data

RECORDED = (Path(__file__).parent / "data/ask_stream.sse").read_bytes()


async def test_the_recorded_stream_comes_out_as_it_went_in(serve):
    async with serve(openai_model="gpt-3.5-turbo") as service:
        service.openai.script = Script(raw=RECORDED, piece=7)

        async with service.ask(stream=True) as response:
            body = await response.read()

        assert body == RECORDED
        [receipt] = await service.receipts()
    assert (receipt["completion_tokens"], receipt["source"], receipt["outcome"]) == (51, "counted", "complete")


async def test_a_whole_answer_is_charged_by_its_usage(service: Service):
    async with service.ask() as response:
        answer = await response.json()

    info = await service.info()
    assert info["quota_used"] == answer["usage"]["total_tokens"] > 0
    assert info["quota_held"] == 0
    assert info["max_quota"] == info["quota_left"] + info["quota_used"]


async def test_a_stream_ends_with_done_and_hides_the_usage_chunk(service: Service):
    async with service.ask(stream=True) as response:
        events = sse_data(await response.read())

    assert events[-1] == b"[DONE]"
    assert not any(b'"choices":[]' in event for event in events)
    [receipt] = await service.receipts()
    assert receipt["tokens"] == service.openai.journal[0].spent
