"""A script's waits: answers that are held, stalled or slow, and peers that leave while they wait."""

import asyncio

import pytest

from gptdock.dev.script import BEFORE_HEAD
from tests.harness.simulated import ask, ask_stream, stream, three_words


@pytest.mark.parametrize("at", [BEFORE_HEAD, 0, 2, 7])
async def test_a_held_stream_goes_on_when_released(server, session, at):
    server.script = three_words(hold_at=at)

    asking = asyncio.create_task(stream(server, session))
    record = await server.journal.arrived()
    await server.journal.sent(max(at, 0))
    sent = record.events
    server.release()
    data, is_whole = await asking

    assert sent == max(at, 0)
    assert (is_whole, data.endswith(b"data: [DONE]\n\n")) == (True, True)


async def test_a_held_whole_answer_goes_on_when_released(server, session):
    server.script = three_words(hold_at=2)

    asking = asyncio.create_task(ask(server, session).__aenter__())
    record = await server.journal.sent(2)
    generated = record.generated
    server.release()
    response = await asking

    assert (generated, (await response.json())["usage"]["completion_tokens"]) == (2, 3)


@pytest.mark.parametrize("at", [BEFORE_HEAD, 0, 2])
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_peer_that_leaves_stops_the_generation(server, session, at, streamed):
    server.script = three_words(stall_at=at)

    asking = asyncio.create_task(stream(server, session, stream=streamed))
    await server.journal.arrived()
    record = await server.journal.sent(max(at, 0))
    asking.cancel()
    left = await server.journal.left()

    assert left == [record]
    assert record.generated == {BEFORE_HEAD: 0, 0: 0, 2: 1 if streamed else 2}[at]
    assert not record.completed


async def test_a_peer_that_leaves_after_done_did_not_abort(server, session):
    server.script = three_words(hold_at=7)

    async with ask_stream(server, session) as response:
        record = await server.journal.sent(7)
        response.close()
    await server.journal.ended()

    assert (record.completed, record.aborted) == (True, False)


async def test_comments_drip_while_a_stream_stalls(server, session):
    server.script = three_words(stall_at=1, comments_every=0.001)

    async with ask_stream(server, session) as response:
        lines = [await response.content.readline() for _ in range(6)]

    assert lines[2:] == [b": keep-alive\n", b"\n"] * 2
    assert server.journal[0].events == 1


@pytest.mark.parametrize("pace", ["head_seconds", "first_event_seconds", "token_seconds"])
async def test_a_pace_delays_the_answer(server, session, pace):
    """An hour in each place, so that a peer that leaves is certainly still waiting there."""
    server.script = three_words(**{pace: 3600})

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
