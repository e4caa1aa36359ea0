"""Reads the body of a request within its limits of size and time."""

import asyncio
import re

import aiohttp
from aiohttp import web

from gptdock.errors import InvalidRequest, PayloadTooLarge, RequestTimeout, UnsupportedEncoding
from gptdock.settings import Settings

# Not `request.charset`: aiohttp parses it with the `email` package, which takes seconds for 8 KB of semicolons.
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]*)", re.IGNORECASE)


async def read_body(request: web.Request, settings: Settings) -> bytes:
    """The body: at most MAX_BODY_BYTES, complete within BODY_TIMEOUT, in UTF-8 and without a Content-Encoding.

    Raises UnsupportedEncoding, InvalidRequest, PayloadTooLarge or RequestTimeout.
    """
    if "Content-Encoding" in request.headers:
        raise UnsupportedEncoding
    if _charset(request.headers.get("Content-Type", "")) not in ("utf-8", "utf8", "us-ascii"):
        raise InvalidRequest("The body must be JSON in UTF-8.", param="Content-Type")
    if (size := request.content_length or 0) > settings.max_body_bytes:
        raise PayloadTooLarge(
            f"The request body has {size} bytes; {settings.max_body_bytes} are allowed (MAX_BODY_BYTES)."
        )
    try:
        if request.content.is_eof():  # it is here already, as most are
            body = request.content.read_nowait()
            if len(body) > settings.max_body_bytes:
                raise web.HTTPRequestEntityTooLarge(settings.max_body_bytes, len(body))  # as aiohttp does below
            return body
        async with asyncio.timeout(settings.body_timeout):
            return await _read(request.content, settings.max_body_bytes)
    except TimeoutError as exc:
        message = f"The request body was not here after {settings.body_timeout:g} s (BODY_TIMEOUT)."
        raise RequestTimeout(message) from exc
    except web.RequestPayloadError as exc:
        raise InvalidRequest("The request body is truncated or malformed.", param="body") from exc


async def _read(content: aiohttp.StreamReader, most: int) -> bytes:
    """As `request.read`, which keeps the body as long as the request."""
    content.set_read_chunk_size(most)  # so that the connection seldom stops reading
    body = bytearray()
    while piece := await content.readany():
        body += piece
        if len(body) > most:
            raise web.HTTPRequestEntityTooLarge(most, len(body))
    return bytes(body)


def _charset(content_type: str) -> str:
    found = _CHARSET.search(content_type)
    return found[1].lower() if found else "utf-8"
