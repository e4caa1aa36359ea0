"""Streams of another content type, or without the blank line behind the last event."""

import json

from gptdock.dev.script import Script
from gptdock.upstream import bodies
from gptdock.upstream.sse import EventSplitter
from tests.harness.answers import DONE, HELLO, read_answer, reported
from tests.harness.hostile import check_nothing_is_left
from tests.harness.service import Service

STREAM = HELLO + reported(10, 900, 910) + DONE
USAGE = {"prompt_tokens": 10, "completion_tokens": 900, "total_tokens": 910}
WHOLE = json.dumps({"choices": [{"index": 0, "message": {"content": "hello"}}], "usage": USAGE}).encode()


async def test_a_stream_without_its_last_blank_line_is_whole(service: Service):
    for count in (0, 1):
        for piece in (7, None):
            service.openai.script = Script(raw=STREAM[:-2] + b"\n" * count, piece=piece)
            assert await read_answer(service, stream=True) == HELLO + DONE

    await check_nothing_is_left(service, used=910 * 4)


async def test_an_only_event_without_its_blank_line_is_charged(service: Service):
    for content_type in ("text/event-stream", "application/json", "text/plain"):
        service.openai.script = Script(raw=b"data: " + WHOLE, content_type=content_type)
        assert b"upstream_error" in await read_answer(service, stream=True)
        service.openai.script = Script(raw=b"data: " + WHOLE[:-1], content_type=content_type)
        assert b"upstream_error" in await read_answer(service, stream=True)

    await check_nothing_is_left(service, used=910 * 3)


async def test_a_stream_that_is_said_to_be_json_is_passed_on_as_it_comes(service: Service, monkeypatch):
    monkeypatch.setattr(bodies, "MOST_STREAMED_BYTES", 10)
    for piece in (7, None):
        service.openai.script = Script(raw=STREAM, piece=piece, content_type="application/json")
        assert await read_answer(service, stream=True) == HELLO + DONE

    await check_nothing_is_left(service, used=910 * 2)


async def test_an_event_like_an_earlier_one_is_no_event_behind_half_of_another(service: Service):
    raw = HELLO + b"data: [".ljust(len(HELLO) - 1) + b"\n" + HELLO + HELLO + DONE
    service.openai.script = Script(raw=raw, piece=len(HELLO))

    shown = await read_answer(service, stream=True)

    assert shown == b"".join(event.raw for event in EventSplitter().feed(raw))
    assert shown.count(HELLO) == 2
