"""Whole answers, as the caller gets them.

Most are small, and their caller reads: such a one leaves in one write, with the head that aiohttp would give it. By
aiohttp's own Response it takes 6 % more of a request. What is not so simple goes by `Caller`.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE

from gptdock.aiohttp_private import server
from gptdock.errors import CallerGone
from gptdock.http.app_keys import REQUEST_ID, Services
from gptdock.http.caller import PIECE_BYTES, SURELY_TAKEN, Caller


async def send_whole(
    request: web.Request, services: Services, raw: bytes, headers: dict[str, str]
) -> web.StreamResponse:
    """Answer with this JSON. A caller who leaves meanwhile is dropped."""
    if not services.connections.is_last(request) and _takes_at_once(request, len(raw)):
        _write(request, raw, headers)
        return Sent()
    response: web.StreamResponse
    if len(raw) <= PIECE_BYTES:
        response = web.Response(body=raw, content_type="application/json", headers=headers)
        sending = Caller(request, services.settings, response).end(size=len(raw))
    else:
        response = web.StreamResponse(headers=headers | {"Content-Type": "application/json"})
        response.content_length = len(raw)
        sending = Caller(request, services.settings, response).end_by_pieces(raw)
    with suppress(CallerGone):
        await sending
    return response


class Sent(web.StreamResponse):
    """An answer that is written, after which its connection stays open: nothing of it is left for aiohttp to do."""

    @property
    def prepared(self) -> bool:
        return True

    @property
    def keep_alive(self) -> bool:
        return True

    def __repr__(self) -> str:
        return "<Sent>"  # aiohttp's own needs a request, which this does not keep

    async def prepare(self, request: web.BaseRequest) -> None:
        return

    async def write_eof(self, data: bytes = b"") -> None:
        return


def _takes_at_once(request: web.Request, size: int) -> bool:
    """Whether the connection takes so many bytes without a wait, and is used again after them."""
    transport = request.transport
    return (
        transport is not None
        and not transport.is_closing()
        and not request.protocol.writing_paused
        and transport.get_write_buffer_size() + size < SURELY_TAKEN
        and bool(request.keep_alive)
    )


def _write(request: web.Request, raw: bytes, headers: Mapping[str, str]) -> None:
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    head = (
        f"HTTP/1.1 200 OK\r\n{fields}Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n"
        f"Date: {_date(int(time.time()))}\r\nServer: {SERVER_SOFTWARE}\r\nX-Request-Id: {request[REQUEST_ID]}\r\n\r\n"
    )
    server.write_whole(request, head.encode() + raw)


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
