"""Which answers of the upstream are relayed, and what the others cost."""

import asyncio

import pytest

from gptdock.dev.script import Script
from tests.harness.hostile import (
    check_nothing_is_left,
    fault_of,
    raw_upstream,
    read_request,
)
from tests.harness.service import sse_data
from tests.harness.upstream_faults import (
    BROKEN,
    WHOLE,
    ask_for_fault,
    both_ways,
    check_broken_answer_counted,
    check_counted_once,
    check_only_released,
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


WORDS = b'data: {"choices":[{"delta":{"content":" word"}}]}\n\n'


@pytest.mark.parametrize(
    ("stream", "parts"),
    [
        (True, (chunk(WORDS), b"ZZ\r\n")),
        (True, (chunk(WORDS), b"5\r\nabcdeXX5\r\n")),
        (True, (b"ZZ\r\n",)),
        (False, (chunk(WHOLE[:20]), b"ZZ\r\n")),
    ],
)
@pytest.mark.parametrize("turns", [0, 1, 20])  # in one segment with the head, just behind it, or later
async def test_an_answer_with_malformed_chunks_has_broken_off(serve, stream, parts, turns):
    """At once, not at a deadline: aiohttp closes the connection without telling the reader of the body."""

    async def break_off(reader, writer):
        await read_request(reader)
        kind = b"text/event-stream" if stream else b"application/json"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % kind)
        for part in parts:
            writer.write(part)
            for _ in range(turns):
                await asyncio.sleep(0)
        await reader.read()

    deadlines = {"event_timeout": 5, "first_event_timeout": 5, "request_timeout": 5}
    async with raw_upstream(break_off) as url, serve(openai_base_url=url, **deadlines) as service:
        async with service.ask(stream=stream) as response:
            body = await response.read()

        assert b"upstream_error" in body
        assert b"upstream_timeout" not in body
        await check_broken_answer_counted(service)


@both_ways
@pytest.mark.parametrize("cut", ["close", "rst", "close_delimited"])
async def test_a_head_without_a_body_has_broken_off(service, stream, cut):
    service.openai.script = Script(cut=cut, cut_at=0) if stream else Script(cut=cut)

    fault = await ask_for_fault(service, stream)

    assert (fault.status, service.openai.requests) == (502, 1)


async def test_an_answer_with_a_false_length_is_counted_and_not_asked_for_again(serve):
    async def answer(reader, writer):
        await read_request(reader)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % (len(WHOLE) - 1) + WHOLE)

    async with raw_upstream(answer) as url, serve(openai_base_url=url) as service:
        async with service.ask() as response:
            assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")

        await check_broken_answer_counted(service)


async def test_a_content_type_is_read_without_parsing_its_parameters(serve):
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: Application/JSON ;%s\r\n\r\n" % (b"(" * 4000) + WHOLE)
        writer.close()

    async with raw_upstream(answer) as url, serve(openai_base_url=url) as service, service.ask() as response:
        assert await response.read() == WHOLE


async def test_a_long_head_does_not_lose_the_answer(serve):
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Trace: %b\r\n\r\n" % (b"x" * 30_000))
        writer.write(WHOLE)
        writer.close()

    async with raw_upstream(answer) as url, serve(openai_base_url=url) as service:
        async with service.ask() as response:
            assert response.status == 200

        assert (await service.info())["quota_used"] == 7


async def test_a_stream_may_begin_with_an_event_without_data(service):
    service.openai.script = Script(raw=b"data:\n\ndata: {}\n\ndata: [DONE]\n\n")

    async with service.ask(stream=True) as response:
        assert sse_data(await response.read())[-2:] == [b"{}", b"[DONE]"]


async def test_anything_but_a_stream_is_refused_and_free(service):
    scripts = [
        Script(raw=b"<html>Sign in to the hotel</html>", content_type="text/html"),
        Script(raw=b"<html>Sign in to the hotel</html>"),
        Script(raw=b"data: <html>\n\n"),
        Script(raw=b"data: [1]\n\n"),
        Script(raw=b"data:\n\n"),
        Script(raw=b"\n\n\n"),
        Script(raw=b": only a comment\n\n"),
        Script(raw=b""),
        Script(raw=b"[]", content_type="application/json"),
        Script(raw=b'{"detail": "busy"}', content_type="application/json"),
        Script(raw=b"", content_type="text/event-stream, text/html"),
    ]
    faults = {}
    for script in scripts:
        service.openai.script = script
        faults[script.raw] = await ask_for_fault(service, stream=True)

    assert set(faults.values()) == {BROKEN}
    assert service.openai.requests == len(scripts)
    await check_only_released(service)


async def test_anything_but_a_whole_answer_is_refused_and_free(service):
    scripts = [
        Script(raw=b"<html>Sign in to the hotel</html>", content_type="text/html"),
        Script(raw=b"[]"),
        Script(raw=b"null"),
        Script(raw=b'{"error": {"code": null}}'),
        Script(raw=b"data: <html>\n\n", content_type="text/event-stream"),
        Script(raw=b"data: [DONE]\n\n", content_type="text/event-stream"),
    ]
    faults = {}
    for script in scripts:
        service.openai.script = script
        faults[script.raw] = await ask_for_fault(service, stream=False)

    assert set(faults.values()) == {BROKEN}
    assert service.openai.requests == len(scripts)
    await check_only_released(service)


async def test_a_whole_answer_that_reports_its_usage_is_charged_even_without_choices(service):
    service.openai.script = Script(raw=b'{"usage": {"total_tokens": 7}}')

    async with service.ask() as response:
        assert (response.status, await response.read()) == (200, service.openai.script.raw)

    await check_nothing_is_left(service, used=7)


async def test_an_empty_whole_answer_is_not_charged(service):
    service.openai.script = Script(raw=b"")

    assert await ask_for_fault(service, stream=False) == BROKEN

    await check_only_released(service)


@pytest.mark.parametrize("raw", [b'{"choices": [', b"[" * 100_000, b"{\xff}"])
async def test_a_whole_answer_that_is_not_json_is_counted(service, raw):
    service.openai.script = Script(raw=raw)

    fault = await ask_for_fault(service, stream=False)

    assert (fault, service.openai.requests) == (BROKEN, 1)
    await check_counted_once(service)
