"""Upstreams that break, stall or send errors: what the caller sees, and what it costs."""

import asyncio
import json

import aiohttp
import pytest

from gptdock.aiohttp_private.tap import Silence
from gptdock.dev.script import BEFORE_HEAD, Cut, Script
from gptdock.upstream.meter import Meter
from gptdock.upstream.stream import Stream, Taker
from tests.harness.answers import RECORDED, TEXT
from tests.harness.hostile import (
    check_nothing_is_left,
    raw_upstream,
    read_request,
)
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import Service, sse_data

pytestmark = pytest.mark.usefixtures("each_flow")

CUTS: list[Cut] = ["close", "rst", "mid_chunk", "after_finish", "clean_no_done", "close_delimited"]


@pytest.mark.parametrize("cut", CUTS)
async def test_a_cut_stream_ends_with_an_error_and_without_done(service: Service, cut: Cut):
    service.openai.script = Script(tokens=20, cut=cut, cut_at=None if cut == "after_finish" else 9)

    async with service.ask(stream=True) as response:
        events = sse_data(await response.read())

    assert response.status == 200
    assert json.loads(events[-1])["error"]["code"] == "upstream_error"
    assert b"[DONE]" not in events
    [record] = service.openai.journal
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "upstream_error")
    assert 0 <= record.spent - receipt["tokens"] <= 1
    await check_nothing_is_left(service, used=receipt["tokens"])


@pytest.mark.parametrize("cut", ["close", "rst"])
async def test_events_before_a_cut_are_shown_and_charged_however_late_they_are_read(service: Service, cut: Cut):
    """GPTDock is busy while fifty tokens come and the connection breaks: aiohttp tells of the break first."""
    service.openai.script = Script(tokens=60, hold_at=1, cut=cut, cut_at=52)
    flow = Stream.flow

    async def late(stream: Stream, taker: Taker, silence: Silence) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while stream._content.exception() is None:  # noqa: ASYNC110 - aiohttp tells nobody
                await asyncio.sleep(0)
        await flow(stream, taker, silence)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stream, "flow", late)
        async with service.ask(stream=True) as response:
            service.openai.release()
            events = sse_data(await response.read())

    assert len(events) == 52 + 1
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_an_error_after_the_first_chunk_is_counted(service: Service):
    service.openai.script = Script(error_at=1, hold_at=1)
    async with service.ask(stream=True) as response:
        service.openai.release()
        await response.read()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["prompt_tokens"]) == ("counted", service.openai.journal[0].prompt_tokens)
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_a_fault_of_ours_in_the_middle_of_an_answer_cuts_it(service: Service, monkeypatch: pytest.MonkeyPatch):
    service.openai.script = Script(hold_at=2)
    async with service.ask(stream=True) as response:
        await service.openai.journal.sent(2)
        monkeypatch.setattr(Meter, "read", lambda meter, event: 1 / 0)
        service.openai.release()

        with pytest.raises(aiohttp.ClientPayloadError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await response.read()

    monkeypatch.undo()
    [receipt] = await service.receipts()
    assert receipt["outcome"] == "internal_error"
    await check_nothing_is_left(service, used=receipt["tokens"])


@pytest.mark.parametrize("cut", ["close", "rst", "close_delimited"])
async def test_a_cut_whole_answer_is_an_error_and_is_charged(service: Service, cut: Cut):
    service.openai.script = Script(tokens=20, cut=cut)

    async with service.ask() as response:
        assert (response.status, response.headers["x-should-retry"]) == (502, "false")

    [receipt] = await service.receipts()
    assert receipt["source"] == "counted"
    assert receipt["tokens"] >= receipt["prompt_tokens"] == service.openai.journal[0].prompt_tokens
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_a_stream_that_is_shorter_than_its_length_ends_with_an_error(serve):
    async def stop_short(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100000\r\n\r\n")
        writer.write(RECORDED.removesuffix(b"data: [DONE]\n\n"))
        await writer.drain()
        writer.close()

    async with raw_upstream(stop_short) as url, serve(openai_base_url=url, openai_model="gpt-3.5-turbo") as service:
        async with service.ask(stream=True) as response:
            events = sse_data(await response.read())

        assert json.loads(events[-1])["error"]["code"] == "upstream_error"
        [receipt] = await service.receipts()
        assert (receipt["completion_tokens"], receipt["source"]) == (51, "counted")
        info = await service.info()
        assert (info["quota_used"], info["quota_held"]) == (receipt["tokens"], 0)


@pytest.mark.parametrize("comments_every", [None, 0.02])
async def test_a_stalled_stream_ends_with_an_error_also_if_comments_drip(serve, comments_every: float | None):
    async with serve(event_timeout=0.3) as service:
        service.openai.script = Script(stall_at=4, comments_every=comments_every)

        async with service.ask(stream=True) as response:
            events = sse_data(await response.read())

        assert json.loads(events[-1])["error"]["code"] == "upstream_timeout"
        assert not any(event.startswith(b":") for event in events)
        await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_a_whole_answer_has_the_request_s_deadline_only(serve):
    async with serve(request_timeout=0.5, event_timeout=0.1, first_event_timeout=0.1) as service:
        service.openai.script = Script(head_seconds=0.3)
        async with service.ask() as response:
            assert response.status == 200

        service.openai.script = Script(stall_at=BEFORE_HEAD)
        async with service.ask() as response:
            assert response.status == 504


async def test_an_error_instead_of_the_first_event_has_a_status_and_costs_nothing(service: Service):
    service.openai.script = Script(error_at=0, error={"message": "secret words", "code": "rate_limit_exceeded"})

    async with service.ask(stream=True) as response:
        body = await response.text()

    assert response.status == 429
    assert "x-should-retry" not in response.headers
    assert "secret words" not in body
    await check_nothing_is_left(service, used=0)


async def test_an_error_in_the_stream_is_told_in_our_words_and_counted(service: Service):
    service.openai.script = Script(error_at=5, error={"message": "secret words", "code": "server_error"})

    async with service.ask(stream=True) as response:
        body = await response.read()

    assert json.loads(sse_data(body)[-1])["error"]["code"] == "upstream_error"
    assert b"secret words" not in body
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


@pytest.mark.parametrize("after", [b"data: [DONE]\n\n", TEXT + b"data: [DONE]\n\n"])
async def test_events_after_an_error_are_not_shown(service: Service, after: bytes):
    service.openai.script = Script(raw=TEXT + b'data: {"error":{"message":"boom"}}\n\n' + after, tokens=0)

    async with service.ask(stream=True) as response:
        first, error = sse_data(await response.read())

    assert b"data: " + first + b"\n\n" == TEXT
    assert json.loads(error)["error"]["code"] == "upstream_error"
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "upstream_error")


@pytest.mark.parametrize("begun", [b"data: {", b": ping\n\n"], ids=["half an event", "a comment"])
async def test_a_break_after_the_head_and_before_an_event_is_counted(serve, begun: bytes):
    """It had the request and began to answer, so it may have generated."""

    async def breaks(reader, writer):
        await read_request(reader)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"%x\r\n%b\r\n" % (len(begun), begun))
        await writer.drain()
        writer.close()

    async with raw_upstream(breaks) as url, serve(openai_base_url=url) as service:
        async with service.ask(stream=True) as response:
            await response.read()

        [receipt] = await service.receipts()
        assert (response.status, response.headers["x-should-retry"]) == (502, "false")
        assert (receipt["source"], receipt["outcome"]) == ("counted", "upstream_error")
        assert receipt["tokens"] >= receipt["prompt_tokens"] > 0
