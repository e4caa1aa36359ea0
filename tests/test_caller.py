"""The one who asked."""

from contextlib import suppress

import aiohttp
from aiohttp import web

from gptdock.caller import Caller
from gptdock.keys import SETTINGS
from tests.service import make_settings


async def test_nothing_follows_the_end_of_an_answer(aiohttp_client):
    """As when a deadline comes while the end is on its way: an error event behind it would be no HTTP."""
    left = []

    async def answer(request):
        response = web.StreamResponse()
        caller = Caller(request, response)
        await caller.write(b"one")
        await caller.end(b"two")
        left.append(request.transport)
        await caller.end(b"three")
        return response

    app = web.Application()
    app[SETTINGS] = make_settings("http://127.0.0.1:1", "http://127.0.0.1:1")
    app.router.add_get("/", answer)
    client = await aiohttp_client(app)

    async with client.get("/") as response:
        with suppress(aiohttp.ClientError):  # a reset may overtake what was sent before it
            assert await response.read() == b"onetwo"

    assert left[0].is_closing()
