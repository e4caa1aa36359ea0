"""Whole answers, as the caller gets them."""

from contextlib import suppress

from aiohttp import web

from gptdock.errors import CallerGone
from gptdock.http.caller import PIECE_BYTES, Caller
from gptdock.settings import Settings


async def send_whole(
    request: web.Request, settings: Settings, raw: bytes, headers: dict[str, str]
) -> web.StreamResponse:
    """Answer with this JSON. A caller who leaves meanwhile is dropped."""
    response: web.StreamResponse
    if len(raw) <= PIECE_BYTES:
        response = web.Response(body=raw, content_type="application/json", headers=headers)
        sending = Caller(request, settings, response).end(size=len(raw))
    else:
        response = web.StreamResponse(headers=headers | {"Content-Type": "application/json"})
        response.content_length = len(raw)
        sending = Caller(request, settings, response).end_by_pieces(raw)
    with suppress(CallerGone):
        await sending
    return response
