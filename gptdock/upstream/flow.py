"""The plain way to hand on what comes of a body: by a task that waits for it. A `Tap` is the fast one."""

import asyncio
import math

import aiohttp

from gptdock.aiohttp_private.tap import Silence, Take, unread


async def hand_on_plainly(content: aiohttp.StreamReader, take: Take, silence: Silence) -> None:
    """As Tap.hand_on: for the first event, and with an aiohttp that a Tap does not fit."""
    loop = asyncio.get_running_loop()
    alive_at = event_at = loop.time()
    has_event: bool | None = False
    while has_event is not None and not content.at_eof():
        end_at, ping_at = alive_at + silence.most_seconds, event_at + silence.ping_seconds
        try:
            data = await _read(content, min(end_at, ping_at))
        except (aiohttp.ClientError, ConnectionError):
            if data := unread(content):  # what arrived before the break
                take(data)
            return
        except TimeoutError:
            if end_at <= ping_at:
                raise
            event_at = loop.time()
            silence.ping()
            continue
        has_event = take(data) if data else False
        event_at = loop.time() if has_event else event_at
        alive_at = loop.time() if has_event or silence.any_bytes else alive_at


async def _read(content: aiohttp.StreamReader, until: float) -> bytes:
    async with asyncio.timeout_at(until if until < math.inf else None):
        return await content.readany()
