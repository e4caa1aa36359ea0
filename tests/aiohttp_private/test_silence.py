"""What a Tap does while no event comes. Time is the loop's own, moved by hand: no test waits for it."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from gptdock.aiohttp_private.tap import Silence, Take, Tap
from gptdock.upstream.flow import hand_on_plainly
from tests.aiohttp_private.test_tap import body
from tests.aiohttp_private.test_tap_chunks import begun


async def waiting(content: aiohttp.StreamReader, take: Take, silence: Silence) -> tuple["asyncio.Task[None]", Tap]:
    """A task that hands on what comes, and its tap."""
    task = asyncio.create_task(Tap.hand_on(content, take, silence))
    await asyncio.sleep(0)
    tap = content._waiter
    assert isinstance(tap, Tap)
    return task, tap


async def test_each_silence_is_told_and_events_put_that_off():
    content, pings = body(), list[None]()
    silence = Silence(60, ping_seconds=15, ping=lambda: pings.append(None))
    task, tap = await waiting(content, lambda data: data == b"event", silence)

    for data, told in ((b"event", 0), (b"comment", 1)):
        tap._event_at -= 15
        content.feed_data(data)
        await asyncio.sleep(0)
        tap._look()
        assert len(pings) == told
    tap._look()

    assert len(pings) == 1
    task.cancel()


async def test_silence_after_the_end_is_not_told():
    """The timer may be due when the end was read, and the task does not know of it yet."""
    content, pings = body(), list[None]()
    silence = Silence(60, ping_seconds=15, ping=lambda: pings.append(None))
    task, tap = await waiting(content, lambda data: None, silence)

    content.feed_data(b"[DONE]")
    tap._step()
    tap._event_at -= 15
    tap._look()

    await task
    assert pings == []


async def test_what_ping_raises_is_raised_where_the_flow_is_awaited():
    def fail() -> None:
        raise ZeroDivisionError

    task, tap = await waiting(body(), lambda data: True, Silence(60, ping_seconds=15, ping=fail))
    tap._event_at -= 15
    tap._look()

    with pytest.raises(ZeroDivisionError):
        await task


async def test_any_bytes_are_a_sign_of_life_where_that_is_said():
    content = body()
    task, tap = await waiting(content, lambda data: False, Silence(60, any_bytes=True))

    tap._alive_at -= 60
    content.feed_data(b"comment")
    await asyncio.sleep(0)
    tap._look()

    assert not task.done()
    task.cancel()


async def test_silence_ends_a_flow_and_signs_of_life_put_that_off():
    content, taken = body(), list[bytes]()

    def take(data: bytes) -> bool:
        taken.append(data)
        return data == b"life"

    task, tap = await waiting(content, take, Silence(60))

    tap._alive_at = began = -60.0
    content.feed_data(b"life")
    await asyncio.sleep(0)
    assert tap._alive_at > began
    tap._look()
    assert not task.done()
    tap._alive_at = began
    content.feed_data(b"comment")
    await asyncio.sleep(0)
    assert tap._alive_at == began
    tap._look()

    with pytest.raises(TimeoutError):
        await task
    assert taken == [b"life", b"comment"]


@pytest.mark.parametrize("hand_on", [Tap.hand_on, hand_on_plainly])
async def test_what_came_while_the_process_stood_still_ends_the_silence(hand_on: Any):
    """A loop whose process was stopped for half a minute may call the timers first, and read then."""
    (_, content), taken, loop = await begun(), list[bytes](), asyncio.get_running_loop()
    task = asyncio.create_task(hand_on(content, taken.append, Silence(0.01)))
    await asyncio.sleep(0)

    loop.call_later(0.02, content.feed_data, b"event")
    time.sleep(0.03)  # noqa: ASYNC251 - the process stands still

    await task
    assert taken == [b"event"]


async def test_what_was_read_and_not_yet_handed_on_ends_the_silence():
    content, taken = body(), list[bytes]()
    task, tap = await waiting(content, taken.append, Silence(60))
    tap._alive_at -= 60
    content.feed_data(b"event")
    tap._look()

    await task
    assert taken == [b"event"]
