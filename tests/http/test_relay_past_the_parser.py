"""Streams whose events GPTDock takes past aiohttp's parser, and what may befall them then: a chunk is one read here.

Each is compared with the same bytes, of which the parser has all: the caller sees the same, and pays the same.
"""

import asyncio
import json
import secrets
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.harness.answers import DONE, HELLO, reported
from tests.harness.hostile import deaf_caller, raw_upstream, read_request
from tests.harness.lockstep import FIN, HEAD, RESET, Lockstep, Reads, chunk, past
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.relays import private_ca, relaying
from tests.harness.service import Service, sse_data

ON_EACH_LOOP = True
TEXT = chunk(HELLO)
LAST = b"0\r\n\r\n"
LEAD = [TEXT] * 6  # a Tap stands from the second on, and is between two chunks after the third
USAGE = chunk(reported(10, 900, 910))
END = [USAGE, chunk(DONE), LAST]


class Told(NamedTuple):
    """What a stream's caller saw, its last word, and the client's receipt."""

    shown: list[bytes]
    end: str
    receipt: tuple[int, str, str]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@asynccontextmanager
async def serving(serve: Any, reads: Reads, **settings: object) -> AsyncIterator[tuple[Service, Lockstep]]:
    upstream = Lockstep(reads)
    async with raw_upstream(upstream.serve) as url, serve(openai_base_url=url, **settings) as service:
        yield service, upstream


async def told(service: Service) -> Told:
    """Ask for the stream as a new client, and see what comes of it."""
    client = secrets.token_hex(4)
    shown, end = list[bytes](), "broke"
    try:
        async with service.ask(stream=True, client_id=client) as response:
            assert response.status == 200, await response.text()
            shown = sse_data(await response.read())
            end = "DONE" if shown[-1] == b"[DONE]" else json.loads(shown.pop())["error"]["code"]
    except aiohttp.ClientPayloadError:
        pass
    [receipt] = await service.receipts(client)
    return Told(shown, end, (receipt["tokens"], receipt["source"], receipt["outcome"]))


async def told_both_ways(service: Service, upstream: Lockstep, *writes: bytes) -> Told:
    """What the caller of this stream is told, of which some went past the parser; as if the parser had had it all."""
    upstream.then(*LEAD, *writes)
    seen = await told(service)
    lead = upstream.reads[1 : len(LEAD) + 1]
    assert [read.data for read in lead] == LEAD
    assert past(lead) >= 2

    upstream.reads.parses_all = True
    upstream.then(*LEAD, *writes)
    assert await told(service) == seen
    upstream.reads.parses_all = False
    return seen


BREAKS = {
    "a FIN": [FIN],
    "a reset": [RESET],
    "a FIN in a chunk": [TEXT[:30], FIN],
    "a FIN in a chunk's head": [b"3", FIN],
    "a reset before the line end behind a chunk": [TEXT[:-1], RESET],
    "an end without [DONE]": [LAST],
    "an end in the middle of an event": [chunk(HELLO[:30]), LAST],
    "no size": [b"zz\r\n" + TEXT],
    "no line end behind a chunk": [TEXT[:-2] + b"xx"],
    "a size that is too small": [chunk(HELLO).replace(b"3d", b"3c", 1)],
    "a size that is negative": [b"-1\r\n" + TEXT],
}


async def test_a_stream_that_breaks_past_the_parser_ends_with_an_error_and_is_counted(serve, reads: Reads):
    async with serving(serve, reads) as (service, upstream):
        for name, writes in BREAKS.items():
            seen = await told_both_ways(service, upstream, *writes)
            assert seen.end == "upstream_error", name
            assert seen.receipt[1:] == ("counted", "upstream_error"), name


FRAMINGS = {
    "no more": END,
    "an event over two chunks": [chunk(HELLO[:9]), chunk(HELLO[9:]), *END],
    "an event over two reads": [TEXT[:9], TEXT[9:], *END],
    "a chunk's head over two reads": [TEXT[:1], TEXT[1:], *END],
    "a chunk whose line end comes alone": [TEXT[:-2], TEXT[-2:], *END],
    "two events in a chunk": [chunk(HELLO * 2), *END],
    "two chunks in a read": [TEXT * 2, *END],
    "a chunk and a half in a read": [TEXT + TEXT[:20], TEXT[20:], *END],
    "an extension": [chunk(HELLO, b"%x;a=b"), TEXT, *END],
    "a size with zeros": [chunk(HELLO, b"0%x"), chunk(HELLO, b"%X"), *END],
    "trailers": [USAGE, chunk(DONE), b"0\r\nX-Took: 3\r\n\r\n"],
    "all of the end at once": [b"".join(END)],
    "a usage with the end": [USAGE + chunk(DONE), LAST],
    "a FIN in place of the last chunk": [USAGE, chunk(DONE), FIN],
    "a reset in place of the last chunk": [USAGE, chunk(DONE), RESET],
    "an end without its blank line": [USAGE, chunk(DONE[:-1]), LAST],
    "an end without its line end": [USAGE, chunk(DONE[:-2]), LAST],
    "more behind the end": [USAGE, chunk(DONE), TEXT, USAGE, LAST],
    "another answer behind the end": [USAGE, chunk(DONE), LAST + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"],
}


async def test_a_stream_of_any_framing_is_whole_past_the_parser(serve, reads: Reads):
    async with serving(serve, reads) as (service, upstream):
        for name, writes in FRAMINGS.items():
            seen = await told_both_ways(service, upstream, *writes)
            assert (seen.end, seen.receipt) == ("DONE", (910, "upstream", "complete")), name
            assert set(seen.shown[:-1]) == {HELLO[6:-2]}, name


ERROR = chunk(b'data: {"error":{"message":"Oh"}}\n\n')
ODD = chunk(b'data: {"choices":[],"usage":"many"}\n\n')
ENDS = {
    "an error": ([ERROR], "upstream_error", ("counted", "upstream_error")),
    "an error behind a usage": ([USAGE, ERROR], "upstream_error", ("upstream", "upstream_error")),
    "an error behind the end": ([USAGE, chunk(DONE), ERROR, LAST], "DONE", ("upstream", "complete")),
    "no usage": ([chunk(DONE), LAST], "DONE", ("counted", "complete")),
    "an odd usage": ([ODD, chunk(DONE), LAST], "DONE", ("counted", "complete")),
    "a usage of nothing": ([chunk(reported(0, 0, 0)), chunk(DONE), LAST], "DONE", ("counted", "complete")),
    "a usage before the last text": ([USAGE, TEXT, chunk(DONE), LAST], "DONE", ("counted", "complete")),
    "two usages": ([USAGE, chunk(reported(10, 1, 11)), chunk(DONE), LAST], "DONE", ("upstream", "complete")),
    "comments": ([chunk(b": hi\n\n"), TEXT, chunk(b": hi\n\n"), *END], "DONE", ("upstream", "complete")),
    "line ends of CRLF": ([chunk(HELLO.replace(b"\n", b"\r\n")), *END], "DONE", ("upstream", "complete")),
    "silence": ([chunk(b": hi\n\n")] * 3, "upstream_timeout", ("counted", "upstream_timeout")),
}


async def test_a_stream_is_charged_past_the_parser_by_what_it_tells(serve, reads: Reads):
    async with serving(serve, reads, event_timeout=0.2) as (service, upstream):
        for name, (writes, end, receipt) in ENDS.items():
            seen = await told_both_ways(service, upstream, *writes)
            assert (seen.end, seen.receipt[1:]) == (end, receipt), name
            assert set(seen.shown) - {b"[DONE]"} == {HELLO[6:-2]}, name


async def test_a_compressed_stream_never_goes_past_the_parser(serve, reads: Reads):
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in [HELLO] * 6 + [DONE]]
    async with serving(serve, reads) as (service, upstream):
        head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
        upstream.then(*map(chunk, parts), chunk(packer.flush()), LAST, head=head)
        seen = await told(service)

    assert (seen.end, len(seen.shown), past(reads)) == ("DONE", 6 + 1, 0)


async def test_a_stream_over_tls_goes_past_the_parser(serve, reads: Reads, tmp_path: Path, monkeypatch):
    ca, tls = private_ca(tmp_path)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=str(ca)))
    upstream = Lockstep(reads)
    async with (
        raw_upstream(upstream.serve) as url,
        relaying(url, tls=tls) as relay,
        serve(openai_base_url=f"https://localhost:{relay.port}/v1") as service,
    ):
        for writes in (FRAMINGS["an event over two reads"], FRAMINGS["an extension"]):
            seen = await told_both_ways(service, upstream, *writes)
            assert (seen.end, seen.receipt) == ("DONE", (910, "upstream", "complete"))


async def test_a_caller_who_leaves_a_stream_that_goes_past_the_parser_pays_for_it(serve, reads: Reads):
    async with serving(serve, reads) as (service, upstream):
        upstream.then(*LEAD)
        async with service.ask(stream=True) as response:
            for _ in LEAD:
                await response.content.readuntil(b"\n\n")
            response.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await upstream.left.wait()
        [receipt] = await service.receipts()

    assert past(reads) >= 2
    assert (receipt["source"], receipt["outcome"], receipt["completion_tokens"]) == ("counted", "caller_left", 6)


async def test_a_caller_who_does_not_read_is_cut_also_past_the_parser(serve, reads: Reads):
    padded, cut = chunk(HELLO.replace(b"]}", b'],"obfuscation":"%b"}' % (b"y" * 3000))), asyncio.Event()

    async def goes_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        closed = asyncio.create_task(reader.read())
        writing = asyncio.create_task(reads.have(HEAD, writer))
        while not closed.done():
            await asyncio.wait([writing, closed], return_when=asyncio.FIRST_COMPLETED)
            writing = asyncio.create_task(reads.have(padded, writer)) if writing.done() else writing
        writing.cancel()
        await asyncio.wait([writing, closed])
        cut.set()

    async with raw_upstream(goes_on) as url, serve(openai_base_url=url, write_timeout=0.3) as service:
        with await deaf_caller(service, stream=True):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await cut.wait()
            [receipt] = await service.receipts()

    assert past(reads) >= 2
    assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
