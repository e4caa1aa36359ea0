"""Streams in which no event comes: comments keep the caller's connection alive, and deadlines end them."""

import asyncio
import json

import aiohttp
import pytest

from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.http.caller import PING, Caller
from tests.harness.answers import TEXT
from tests.harness.hostile import (
    PATIENCE_SECONDS,
    Fault,
    check_nothing_is_left,
    deaf_caller,
    fault_of,
    raw_upstream,
    read_request,
)
from tests.harness.service import sse_data

pytestmark = pytest.mark.usefixtures("one_flow_on_each_loop")
ON_EACH_LOOP = True

FIRST_EVENT, FIRST_TEXT = 0, 1
PADDED = TEXT.replace(b"]}", b'],"obfuscation":"%s"}' % (b"y" * 3000))
THINKS, WRITES_AT_ONCE = "o4-mini", "gpt-4o-mini"


async def read_pings(response: aiohttp.ClientResponse, count: int) -> bytes:
    """What comes until so many pings came."""
    body = b""
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        while body.count(PING) < count:
            event = await response.content.readuntil(b"\n\n")
            assert event, "the answer ended"
            body += event
    return body


@pytest.mark.parametrize("model", [THINKS, WRITES_AT_ONCE])
async def test_a_silent_stream_sends_its_caller_comments_between_events(serve, model: str):
    async with serve(openai_model=model, ping_seconds=0.05) as service:
        service.openai.script = Script(tokens=20, hold_at=5)
        async with service.ask(stream=True) as response:
            body = await read_pings(response, 3)
            service.openai.release()
            body += await response.read()

        assert body.endswith(b"data: [DONE]\n\n")
        assert len(sse_data(body.replace(PING, b""))) == 20 + 3
        await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_comments_to_the_caller_are_not_charged(serve):
    async with serve(ping_seconds=0.05) as service:
        service.openai.script = Script(tokens=20, stall_at=9)
        async with service.ask(stream=True) as response:
            await read_pings(response, 3)
            response.close()
        [record] = await service.openai.journal.left()

        await check_nothing_is_left(service, used=record.spent)


async def test_no_comment_is_sent_where_pings_are_off(serve):
    async with serve(ping_seconds=0, event_timeout=0.3) as service:
        service.openai.script = Script(stall_at=4)
        async with service.ask(stream=True) as response:
            body = await response.read()

        assert PING not in body
        assert json.loads(sse_data(body)[-1])["error"]["code"] == "upstream_timeout"


async def test_an_answer_begins_with_a_comment_while_its_model_thinks(serve):
    async with serve(openai_model=THINKS, ping_seconds=0.05, first_event_timeout=0.001) as service:
        service.openai.script = Script(tokens=20, hold_at=FIRST_EVENT)
        async with service.ask(stream=True) as response:
            body = await read_pings(response, 3)
            service.openai.release()
            answer = await response.read()

        assert (response.status, body) == (200, PING * 3)
        assert len(sse_data(answer.replace(PING, b""))) == 20 + 3
        await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_an_error_after_the_answer_began_with_a_comment_is_an_event_and_free(serve):
    async with serve(openai_model=THINKS, ping_seconds=0.05) as service:
        service.openai.script = Script(hold_at=FIRST_EVENT, error_at=FIRST_EVENT, error={"code": "rate_limit_exceeded"})
        async with service.ask(stream=True) as response:
            await read_pings(response, 1)
            service.openai.release()
            events = sse_data((await response.read()).replace(PING, b""))

        assert [json.loads(event)["error"]["code"] for event in events] == ["rate_limited"]
        await check_nothing_is_left(service, used=0)


async def test_a_model_that_never_ends_to_think_ends_at_its_deadline(serve):
    async with serve(openai_model=THINKS, ping_seconds=0.05, think_timeout=0.5) as service:
        service.openai.script = Script(stall_at=FIRST_EVENT, comments_every=0.02)
        async with service.ask(stream=True) as response:
            events = sse_data((await response.read()).replace(PING, b""))

        assert [json.loads(event)["error"]["code"] for event in events] == ["upstream_timeout"]
        await service.openai.journal.left()


@pytest.mark.parametrize(
    ("model", "silent_at"),
    [(WRITES_AT_ONCE, FIRST_EVENT), (WRITES_AT_ONCE, BEFORE_HEAD), (THINKS, BEFORE_HEAD)],
)
async def test_no_comment_begins_an_answer_whose_status_may_still_be_an_error(serve, model: str, silent_at: int):
    """Before the upstream's own status, whatever the model; then, if silence is more likely a fault than a thought."""
    async with serve(openai_model=model, ping_seconds=0.02, first_event_timeout=0.3, think_timeout=0.3) as service:
        service.openai.script = Script(stall_at=silent_at)
        async with service.ask(stream=True) as response:
            assert await fault_of(response) == Fault(504, "upstream_timeout")


async def test_a_model_may_think_longer_than_between_events_until_its_first_text(serve):
    async with serve(openai_model=THINKS, ping_seconds=0.8, event_timeout=3) as service:
        service.openai.script = Script(tokens=20, hold_at=FIRST_TEXT)
        async with service.ask(stream=True) as response:
            await read_pings(response, 4)
            service.openai.release()
            body = await response.read()

        assert body.endswith(b"data: [DONE]\n\n")
        assert len(sse_data(body.replace(PING, b""))) == 20 + 2


@pytest.mark.parametrize("ping_seconds", [0, 0.05])
async def test_a_model_that_may_think_has_no_more_time_after_its_first_text(serve, ping_seconds: float):
    async with serve(openai_model=THINKS, ping_seconds=ping_seconds, event_timeout=0.3) as service:
        service.openai.script = Script(tokens=20, stall_at=9)
        async with service.ask(stream=True) as response, asyncio.timeout(PATIENCE_SECONDS):
            body = await response.read()

        assert json.loads(sse_data(body)[-1])["error"]["code"] == "upstream_timeout"


async def test_comments_of_the_upstream_keep_a_model_alive_that_may_think(serve):
    async with serve(openai_model=THINKS, ping_seconds=0.8, event_timeout=3) as service:
        service.openai.script = Script(tokens=20, stall_at=9, comments_every=0.02)
        async with service.ask(stream=True) as response:
            body = await read_pings(response, 4)
            response.close()

        assert b"error" not in body
        await service.openai.journal.left()


async def test_no_comment_is_sent_to_a_caller_who_does_not_read(serve, monkeypatch: pytest.MonkeyPatch):
    write_now, ping = Caller.write_now, Caller.ping
    full, pinged, waiting = asyncio.Event(), asyncio.Event(), list[tuple[int, int]]()

    def buffered(caller: Caller) -> int:
        transport = caller._protocol.transport
        return transport.get_write_buffer_size() if transport else 0

    def writing(caller: Caller, data: bytes) -> bool:
        goes_on = write_now(caller, data)
        if buffered(caller):
            full.set()
        return goes_on

    def pinging(caller: Caller) -> None:
        before = buffered(caller)
        ping(caller)
        if before:
            waiting.append((before, buffered(caller)))
            pinged.set()

    async def stops_once_the_caller_is_full(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while not full.is_set():
            writer.write(PADDED)
            await asyncio.sleep(0)
        await reader.read()

    monkeypatch.setattr(Caller, "write_now", writing)
    monkeypatch.setattr(Caller, "ping", pinging)
    async with (
        raw_upstream(stops_once_the_caller_is_full) as url,
        serve(openai_base_url=url, ping_seconds=0.02) as service,
    ):
        with await deaf_caller(service, stream=True):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await pinged.wait()
    assert [after for _, after in waiting] == [before for before, _ in waiting]


async def test_a_model_may_think_before_its_headers_come(serve):
    for model, status in ((THINKS, 200), ("gpt-4o-mini", 504)):
        async with serve(openai_model=model, first_event_timeout=0.1, think_timeout=20) as service:
            service.openai.script = Script(tokens=1, head_seconds=0.4)
            async with service.ask(stream=True) as response:
                assert response.status == status
