"""The bodies of responses: whether something can be made of one, and how much of it is read."""

import asyncio
import logging

import aiohttp

from gptdock.errors import UpstreamError, UpstreamLost
from gptdock.upstream import answers, complaints
from gptdock.upstream.answers import Answer
from gptdock.upstream.exchange import Exchange
from gptdock.upstream.format import Format

log = logging.getLogger(__name__)

EVENTS, JSON = "text/event-stream", "application/json"
CODINGS = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})  # aiohttp decodes them, two of them by a library


class TooLarge(ValueError):
    """A body has more bytes than may be kept; `start` is what was read of it."""

    def __init__(self, start: bytes) -> None:
        super().__init__("the body is too large")
        self.start = start


async def read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body. Raises TooLarge if it has more than `most` bytes."""
    data = bytearray()
    while piece := await response.content.readany():
        data += piece
        if len(data) > most:
            raise TooLarge(bytes(data))
    return bytes(data)


async def read_end(response: aiohttp.ClientResponse, start: bytes, count: int) -> bytes:
    """The last `count` bytes of a body of which `start` was read; no more than three times as many are kept."""
    data = bytearray(start[-count:])
    while piece := await response.content.readany():
        data += piece
        if len(data) > 2 * count:
            del data[:-count]
        await asyncio.sleep(0)  # what is unpacked from few bytes comes without a wait
    return bytes(data[-count:])


async def read_answer(response: aiohttp.ClientResponse, form: Format) -> Answer | None:
    """The answer or the error in the body. Raises ValueError if it is not JSON, and aiohttp's errors."""
    try:
        return answers.read(await read(response, form.most_bytes), form)
    except TooLarge as exc:
        return answers.read_too_large(exc.start, await read_end(response, exc.start, answers.END_BYTES), form)


def sends(response: aiohttp.ClientResponse, exchange: Exchange, asked: str) -> bool:
    """Whether the response has the content type that was asked for. Raises if nothing can be made of its body."""
    # Not `response.content_type`: aiohttp reads that with email's parser, which takes seconds for some headers.
    sent = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if sent != asked:
        log.error("upstream sent another content type", extra={"content_type": complaints.name(sent)})
    if sent not in (EVENTS, JSON):
        exchange.refused()
        raise UpstreamError
    if coding not in CODINGS:
        log.error("upstream sent an unknown content encoding", extra={"content_encoding": complaints.name(coding)})
        raise UpstreamLost
    return sent == asked
