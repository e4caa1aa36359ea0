"""The bodies of responses: whether something can be made of one, and how much of it is read."""

import asyncio
import logging
from collections.abc import AsyncIterator

import aiohttp

from gptdock.errors import UpstreamLost
from gptdock.upstream import answers, complaints
from gptdock.upstream.answers import Answer
from gptdock.upstream.format import Format
from gptdock.upstream.sse import EventTooLarge

log = logging.getLogger(__name__)

EVENTS, JSON = "text/event-stream", "application/json"
CODINGS = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})  # aiohttp decodes them, two of them by a library
START_BYTES, MOST_SPACE = 16, 2**16
MOST_STREAMED_BYTES = answers.MOST_PARSED_BYTES  # of one for a caller who asked for a stream: it must be parsed


class TooLarge(ValueError):
    """A body has more bytes than may be kept; `start` is what was read of it."""

    def __init__(self, start: bytes) -> None:
        super().__init__("the body is too large")
        self.start = start


async def read(response: aiohttp.ClientResponse, most: int, start: bytes = b"") -> bytes:
    """The whole body, of which `start` was read. Raises TooLarge if it has more than `most` bytes."""
    data = bytearray(start)
    while len(data) <= most and not response.content.at_eof():
        data += await response.content.readany()
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


async def read_answer(response: aiohttp.ClientResponse, form: Format, most: int, start: bytes = b"") -> Answer | None:
    """The answer or the error in the body, of which `start` was read; None if it is neither.

    Raises ValueError if it is not JSON though it should be, and aiohttp's errors.
    """
    start = await read_start(response, start)
    if not answers.is_whole(start):
        if answers.is_stream(start):
            return await _read_stream(response, form, most, start)
        if content_type(response) != JSON:
            return None
    try:
        return answers.read(await read(response, most, start), form)
    except TooLarge as exc:
        return answers.read_too_large(exc.start, await read_end(response, exc.start, answers.END_BYTES), form)


async def read_start(response: aiohttp.ClientResponse, start: bytes = b"") -> bytes:
    """What comes first of a body of which `start` was read: enough to tell what it is."""
    while len(start.lstrip()) < START_BYTES and len(start) < MOST_SPACE and (piece := await response.content.readany()):
        start += piece
    return start


async def _read_stream(response: aiohttp.ClientResponse, form: Format, most: int, start: bytes) -> Answer | None:
    reader, first = answers.StreamReader(form, most), b""
    try:
        async for data in _slices(response, start):
            first += data if len(first) < answers.TEXT_BYTES else b""
            reader.feed(data)
    except EventTooLarge:
        return answers.read_too_large(first, b"", form)
    return reader.answer()


async def _slices(response: aiohttp.ClientResponse, start: bytes) -> AsyncIterator[bytes]:
    """The body, of which `start` was read; after each slice others have a turn."""
    piece = start
    while piece:
        for at in range(0, len(piece), answers.SLICE_BYTES):
            yield piece[at : at + answers.SLICE_BYTES]
            await asyncio.sleep(0)
        piece = await response.content.readany()


def content_type(response: aiohttp.ClientResponse) -> str:
    """The content type without its parameters, in lower case."""
    # Not `response.content_type`: aiohttp reads that with email's parser, which takes seconds for some headers.
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def check(response: aiohttp.ClientResponse, asked: str) -> None:
    """Log what is not as it was asked for. Raises UpstreamLost if nothing can be made of the body."""
    sent = content_type(response)
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if sent != asked:
        log.error("upstream sent another content type", extra={"content_type": complaints.name(sent)})
    if coding not in CODINGS:
        log.error("upstream sent an unknown content encoding", extra={"content_encoding": complaints.name(coding)})
        raise UpstreamLost
