"""What each field of a script makes the peer see, and what the journal then tells."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from gptdock.dev.openai import serve_openai
from gptdock.dev.script import BEFORE_HEAD, Script

RECORDED = (Path(__file__).parents[1] / "data" / "ask_stream.sse").read_bytes()
MESSAGES = [{"role": "user", "content": "How are you?"}]
PROMPT_TOKENS = 3 + 1 + 3 + 3
BROKEN = (aiohttp.ClientPayloadError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)


@pytest.fixture
async def server():
    async with serve_openai() as server:
        yield server


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-dummy"}) as session:
        yield session


def script(**more):
    return Script(answer="one two three", **more)


def ask(server, session, **more):
    body = {"model": "gpt-4o-mini", "messages": MESSAGES} | more
    return session.post(f"{server.url}/chat/completions", json=body)


def ask_stream(server, session, **more):
    return ask(server, session, **{"stream": True, "stream_options": {"include_usage": True}} | more)


async def read(response):
    """What came, and whether the body ended as it should."""
    data = b""
    try:
        async for piece in response.content.iter_any():
            data += piece
    except BROKEN:
        return data, False
    return data, True


async def stream(server, session, **more):
    async with ask_stream(server, session, **more) as response:
        return await read(response)


def payloads(data):
    return [event.removeprefix("data: ") for event in data.decode().split("\n\n")[:-1]]


def chunks(data):
    return [json.loads(payload) for payload in payloads(data) if payload != "[DONE]"]


# --- cuts


async def test_an_error_event_ends_the_body(server, session):
    server.script = script(error_at=2, error={"message": "oops"})

    data, is_whole = await stream(server, session)

    assert payloads(data)[2:] == ['{"error": {"message": "oops"}}']
    assert is_whole
    assert (server.journal[0].generated, server.journal[0].completed) == (1, False)


@pytest.mark.parametrize("cut", ["close", "rst", "mid_chunk"])
async def test_a_cut_stream_is_broken_before_its_event(server, session, cut):
    server.script = script(cut=cut, cut_at=3)

    data, is_whole = await stream(server, session)

    assert not is_whole
    assert len(payloads(data)) == 3
    assert (b" three" in data, data.endswith(b"\n\n")) == (False, cut != "mid_chunk")
    assert (server.journal[0].generated, server.journal[0].completed, server.journal[0].aborted) == (2, False, False)


@pytest.mark.parametrize(("cut", "resets"), [("close", False), ("rst", True)])
async def test_a_reset_is_another_fault_than_a_close(server, session, cut, resets):
    server.script = script(cut=cut)

    async with ask_stream(server, session) as response:
        with pytest.raises(aiohttp.ClientPayloadError) as failed:
            await response.read()

    assert ("ConnectionResetError" in str(failed.value)) == resets


async def test_a_cut_may_come_after_the_finish_and_before_the_usage(server, session):
    server.script = script(cut="after_finish")

    data, is_whole = await stream(server, session)

    assert not is_whole
    assert chunks(data)[-1]["choices"][0]["finish_reason"] == "stop"
    assert (server.journal[0].generated, server.journal[0].usage) == (3, None)


async def test_a_cut_without_a_place_comes_before_done(server, session):
    server.script = script(cut="close")

    data, is_whole = await stream(server, session)

    assert not is_whole
    assert chunks(data)[-1]["usage"] == server.journal[0].usage
    assert b"[DONE]" not in data


@pytest.mark.parametrize("cut", ["clean_no_done", "close_delimited"])
async def test_some_cuts_look_like_a_proper_end(server, session, cut):
    server.script = script(cut=cut, cut_at=2)

    async with ask_stream(server, session) as response:
        data, is_whole = await read(response)

    assert is_whole
    assert len(payloads(data)) == 2
    assert ("Transfer-Encoding" in response.headers) == (cut == "clean_no_done")
    assert (response.headers.get("Connection") == "close") == (cut == "close_delimited")
    assert (server.journal[0].generated, server.journal[0].completed) == (1, False)


async def test_a_request_may_be_taken_and_never_answered(server, session):
    server.script = Script(cut="before_head")

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await stream(server, session)

    assert (server.journal[0].status, server.journal[0].spent, server.journal[0].aborted) == (0, 0, False)


@pytest.mark.parametrize("cut", ["close", "rst"])
async def test_a_whole_answer_is_cut_in_its_middle(server, session, cut):
    server.script = script(cut=cut)

    async with ask(server, session) as response:
        data, is_whole = await read(response)

    assert not is_whole
    assert 0 < len(data) < int(response.headers["Content-Length"])
    assert (server.journal[0].generated, server.journal[0].completed) == (3, False)


# --- waiting


@pytest.mark.parametrize("at", [BEFORE_HEAD, 0, 2, 7])
async def test_a_held_stream_goes_on_when_released(server, session, at):
    server.script = script(hold_at=at)

    asking = asyncio.create_task(stream(server, session))
    record = await server.journal.arrived()
    await server.journal.sent(max(at, 0))
    sent = record.events
    server.release()
    data, is_whole = await asking

    assert sent == max(at, 0)
    assert (is_whole, data.endswith(b"data: [DONE]\n\n")) == (True, True)


async def test_a_held_whole_answer_goes_on_when_released(server, session):
    server.script = script(hold_at=2)

    asking = asyncio.create_task(ask(server, session).__aenter__())
    record = await server.journal.sent(2)
    generated = record.generated
    server.release()
    response = await asking

    assert (generated, (await response.json())["usage"]["completion_tokens"]) == (2, 3)


@pytest.mark.parametrize("at", [BEFORE_HEAD, 0, 2])
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_peer_that_leaves_stops_the_generation(server, session, at, streamed):
    server.script = script(stall_at=at)

    asking = asyncio.create_task(stream(server, session, stream=streamed))
    await server.journal.arrived()
    record = await server.journal.sent(max(at, 0))
    asking.cancel()
    left = await server.journal.left()

    assert left == [record]
    assert record.generated == {BEFORE_HEAD: 0, 0: 0, 2: 1 if streamed else 2}[at]
    assert not record.completed


async def test_a_peer_that_leaves_after_done_did_not_abort(server, session):
    server.script = script(hold_at=7)

    async with ask_stream(server, session) as response:
        record = await server.journal.sent(7)
        response.close()
    await server.journal.ended()

    assert (record.completed, record.aborted) == (True, False)


async def test_comments_drip_while_a_stream_stalls(server, session):
    server.script = script(stall_at=1, comments_every=0.001)

    async with ask_stream(server, session) as response:
        lines = [await response.content.readline() for _ in range(6)]

    assert lines[2:] == [b": keep-alive\n", b"\n"] * 2
    assert server.journal[0].events == 1


@pytest.mark.parametrize("pace", ["head_seconds", "first_event_seconds", "token_seconds"])
async def test_a_pace_keeps_the_answer_from_coming_at_once(server, session, pace):
    """An hour in each place, so that a peer that leaves was certainly still waiting there."""
    server.script = script(**{pace: 3600})

    asking = asyncio.create_task(stream(server, session))
    record = await server.journal.arrived()
    if pace != "head_seconds":
        await server.journal.until(lambda: record.status == 200)
    if pace == "token_seconds":
        await server.journal.sent(1)
    asking.cancel()
    await server.journal.left()

    assert record.events == (1 if pace == "token_seconds" else 0)
    assert record.generated == 0


async def test_a_wait_for_what_never_happens_ends(server):
    with pytest.raises(TimeoutError):
        await server.journal.until(lambda: False, seconds=0)


# --- bodies


@pytest.mark.parametrize("usage", [0, 1, -1, "many", {"total_tokens": 0}, None])
async def test_a_usage_may_be_anything(server, session, usage):
    server.script = script(usage=usage)

    data, _ = await stream(server, session)
    async with ask(server, session) as response:
        whole = await response.json()

    assert chunks(data)[-1]["choices"] == []
    assert (chunks(data)[-1]["usage"], whole["usage"]) == (usage, usage)
    assert [record.usage for record in server.journal] == [usage, usage]


async def test_a_usage_may_never_come(server, session):
    server.script = script(usage=False)

    data, _ = await stream(server, session)
    async with ask(server, session) as response:
        whole = await response.read()

    assert b"usage" not in data + whole
    assert [record.spent for record in server.journal] == [PROMPT_TOKENS + 3] * 2


async def test_as_many_tokens_as_wanted_are_generated(server, session):
    server.script = script(tokens=1000)

    data, _ = await stream(server, session)

    assert len(chunks(data)) == 1000 + 3
    assert (server.journal[0].generated, server.journal[0].usage["completion_tokens"]) == (1000, 1000)


async def test_an_answer_is_repeated_in_whole_words(server, session):
    server.script = script(tokens=4)

    async with ask(server, session) as response:
        answer = await response.json()

    assert answer["choices"][0]["message"]["content"] == " one two three one"


async def test_a_limit_may_be_overrun(server, session):
    server.script = script(overrun=True)

    data, _ = await stream(server, session, max_completion_tokens=1)

    assert chunks(data)[-1]["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("piece", [None, 1, 7, 1000])
async def test_a_recorded_body_is_sent_as_it_is(server, session, piece):
    server.script = Script(raw=RECORDED, piece=piece, tokens=5)

    data, is_whole = await stream(server, session)

    assert (data, is_whole) == (RECORDED, True)
    assert server.journal[0].events == (1 if piece is None else -(-len(RECORDED) // piece))
    assert (server.journal[0].generated, server.journal[0].completed) == (5, True)


async def test_a_recorded_body_may_be_cut(server, session):
    server.script = Script(raw=RECORDED, piece=10, cut="close", cut_at=3)

    data, is_whole = await stream(server, session)

    assert (data, is_whole) == (RECORDED[:30], False)


async def test_writes_may_be_of_a_byte_and_come_one_by_one(server, session):
    server.script = script(piece=1)

    async with ask_stream(server, session) as response:
        reads = [data async for data in response.content.iter_any()]

    events = chunks(b"".join(reads))
    assert events[-1]["usage"]["completion_tokens"] == 3
    assert len(reads) > 10 * len(events)


@pytest.mark.parametrize("ending", ["\r", "\r\n"])
async def test_lines_may_end_in_another_way(server, session, ending):
    server.script = script(line_ending=ending)

    data, _ = await stream(server, session)

    assert data.endswith(f"data: [DONE]{ending}{ending}".encode())
    assert data.count(ending.encode()) == 14


async def test_html_may_come_where_a_stream_was_asked(server, session):
    server.script = Script(raw=b"<html>", content_type="text/html")

    async with ask_stream(server, session) as response:
        data, _ = await read(response)

    assert (response.status, response.headers["Content-Type"], data) == (200, "text/html", b"<html>")


async def test_html_may_come_with_an_error_status(server, session):
    server.script = Script(status=502, raw=b"<html>", content_type="text/html")

    async with ask(server, session) as response:
        data, _ = await read(response)

    assert (response.status, response.headers["Content-Type"], data) == (502, "text/html", b"<html>")


@pytest.mark.parametrize(
    "given", [Script(), Script(usage=False), Script(usage=1), Script(statuses=(503,), raw=b"\xff")]
)
def test_a_script_survives_json(given):
    back = Script.from_json(json.loads(json.dumps(given.to_json())))

    assert repr(back) == repr(given)  # not ==, to which 1 is True
