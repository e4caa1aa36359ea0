"""The plain way to hand on what comes of a body: by a task that waits for it. A `Tap` is the fast one."""

import asyncio
import math

import aiohttp

from gptdock.aiohttp_private.tap import MOMENT_SECONDS, Silence, Take, unread


async def hand_on_plainly(content: aiohttp.StreamReader, take: Take, silence: Silence) -> None:
    """As Tap.hand_on: for the first event, and with an aiohttp that a Tap does not fit."""
    loop = asyncio.get_running_loop()
    event_at, end_at, is_late = loop.time(), loop.time() + silence.most_seconds, False
    has_event: bool | None = False
    while has_event is not None and not content.at_eof():
        ping_at = event_at + silence.ping_seconds
        try:
            data = await _read(content, min(end_at, ping_at))
        except (aiohttp.ClientError, ConnectionError):
            _take_unread(content, take)
            return
        except TimeoutError:
            if ping_at < end_at:
                event_at = loop.time()
                silence.ping()
            elif is_late:
                raise
            else:
                end_at, is_late = loop.time() + MOMENT_SECONDS, True
            continue
        has_event = take(data) if data else False
        event_at = loop.time() if has_event else event_at
        if has_event or silence.any_bytes:
            end_at, is_late = loop.time() + silence.most_seconds, False


def _take_unread(content: aiohttp.StreamReader, take: Take) -> None:
    if data := unread(content):  # what arrived before the break
        take(data)


async def _read(content: aiohttp.StreamReader, until: float) -> bytes:
    async with asyncio.timeout_at(until if until < math.inf else None):
        return await content.readany()
