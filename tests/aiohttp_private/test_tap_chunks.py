"""A Tap that takes whole chunks past aiohttp's parser: whatever is read when, the body is the same."""

import asyncio
import zlib
from itertools import pairwise

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.aiohttp_private.pool import Wire
from gptdock.aiohttp_private.tap import Silence, Tap
from tests.aiohttp_private.test_tap import PATIENCE_SECONDS, Quiet

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n"
EVENT = b'data: {"text":"Hi"}\n\n'
LAST = b"0\r\n\r\n"


async def begun(fields: bytes = b"") -> tuple[Wire, aiohttp.StreamReader]:
    """A connection on which the head of an answer came, and its body."""
    wire = Wire(asyncio.get_running_loop())
    wire.connection_made(Quiet())
    wire.set_response_params()
    wire.data_received(HEAD % fields)
    _, content = await wire.read()
    return wire, content


def chunk(data: bytes, head: bytes = b"%x") -> bytes:
    return head % len(data) + b"\r\n%b\r\n" % data


class Body(list[bytes]):
    """What a Tap hands on of this body, and then how it ended."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._tapping = asyncio.create_task(Tap.hand_on(content, self._take, Silence(60)))

    def _take(self, data: bytes) -> bool:
        self.append(data)
        return True

    async def ended(self) -> tuple[bytes, str]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._tapping
        return b"".join(self), type(self._content.exception()).__name__


async def test_a_read_of_one_chunk_is_taken_past_the_parser():
    wire, content = await begun()
    body = Body(content)
    await asyncio.sleep(0)

    wire.data_received(chunk(EVENT))
    await asyncio.sleep(0)
    parsed = content.total_bytes
    for _ in range(3):
        wire.data_received(chunk(EVENT))

    assert body == [EVENT] * 4
    assert content.total_bytes == parsed == len(EVENT)
    wire.data_received(LAST)
    assert await body.ended() == (EVENT * 4, "NoneType")


async def both_ways(reads: list[bytes], *, at_once: bool = False) -> None:
    """A body that comes by these reads, some of them past the parser, and one whose parser has them all: the same."""
    told = []
    for tapped in (True, False):
        wire, content = await begun()
        body = Body(content)
        await asyncio.sleep(0)
        for number, data in enumerate(reads):
            if not tapped:
                wire.tap = None
            if not (content.is_eof() or content.exception()):
                wire.data_received(data)
            if number == 0 or not at_once:
                await asyncio.sleep(0)
        if not content.is_eof():
            content.set_exception(aiohttp.ClientPayloadError())
        told.append((*await body.ended(), type(wire.exception()).__name__))

    assert told[0] == told[1]


INNER = chunk(EVENT)
SPLIT_IN_THE_HEAD = [INNER + b"%x\r\n" % len(INNER), INNER, b"\r\n" + LAST]
SPLIT_IN_THE_BODY = [INNER + b"%x\r\na\n\r\n" % (4 + len(INNER)), INNER, b"\r\n" + LAST]
WITHOUT_AN_END = [INNER, INNER[:-2] + b"xx", LAST]
BEHIND_A_FAULT = [INNER + b"\r\n", INNER, LAST]
BEHIND_A_PAUSE = [chunk(b"\n") * 20_000 + SPLIT_IN_THE_BODY[0], *SPLIT_IN_THE_BODY[1:]]


@pytest.mark.parametrize(
    "reads",
    [SPLIT_IN_THE_HEAD, SPLIT_IN_THE_BODY, WITHOUT_AN_END, BEHIND_A_FAULT, BEHIND_A_PAUSE],
    ids=["split in the head", "split in the body", "without an end", "behind a fault", "behind a pause"],
)
async def test_what_only_looks_like_a_chunk_goes_through_the_parser(reads: list[bytes]):
    await both_ways(reads)


async def test_a_chunk_does_not_overtake_what_the_parser_has_had():
    await both_ways([INNER, chunk(b"first\n") + chunk(b"second\n"), INNER, LAST], at_once=True)


PAYLOADS = st.sampled_from([EVENT, b"\n", b"a", b"\r\n", b"\n\r\n", b"1\r\na\r\n", b"0\r\n\r\n", b"x" * 300, b"2\r\n"])
HEADS = st.sampled_from([b"%x", b"%X", b"0%x", b"00%x", b"%x ", b"%x;a=b", b"0x%x", b"+%x"])
CHUNKS = st.builds(chunk, PAYLOADS, HEADS) | st.sampled_from([LAST, b"\r\n", b"\n", b"2\n{}\r\n"])
CUTS = st.lists(st.tuples(st.integers(0, 8), st.integers(-6, 3) | st.just(0)))


@given(st.lists(CHUNKS, min_size=1, max_size=8), CUTS)
async def test_the_body_is_the_same_whichever_reads_go_past_the_parser(chunks, cuts):
    """The reads end with chunks, or some bytes beside these ends."""
    ends = [sum(map(len, chunks[:count])) for count in range(len(chunks) + 1)]
    stream = b"".join(chunks) + LAST
    places = sorted({max(0, min(len(stream), ends[at % len(ends)] + by)) for at, by in cuts} | {0, len(stream)})

    await both_ways([stream[start:end] for start, end in pairwise(places)])


async def test_what_is_compressed_goes_through_the_parser():
    """Also where it looks as if it were not: this is a block that is stored as it is."""
    packer = zlib.compressobj(0)
    packed = packer.compress(EVENT) + packer.flush(zlib.Z_SYNC_FLUSH) + packer.compress(EVENT) + packer.flush()
    end = packed.index(EVENT) + len(EVENT)
    wire, content = await begun(b"Content-Encoding: deflate\r\n")
    body = Body(content)
    await asyncio.sleep(0)

    wire.data_received(chunk(packed[:end]))
    await asyncio.sleep(0)
    wire.data_received(chunk(packed[end:]))
    wire.data_received(LAST)

    assert await body.ended() == (EVENT * 2, "NoneType")


async def test_reads_for_which_aiohttp_has_a_timeout_go_through_the_parser():
    """It puts off its `sock_read` where it parses: a lively stream would end by that if its reads went past."""
    wire, content = await begun()
    wire.read_timeout = PATIENCE_SECONDS
    body = Body(content)
    await asyncio.sleep(0)

    for _ in range(3):
        put_off = wire._read_timeout_handle
        wire.data_received(chunk(EVENT))
        await asyncio.sleep(0)
        assert wire._read_timeout_handle not in (None, put_off)

    wire.data_received(LAST)
    assert await body.ended() == (EVENT * 3, "NoneType")


@pytest.mark.parametrize("stops", ["stopped", "cancelled"])
async def test_a_tap_that_lets_go_leaves_the_next_chunks_to_the_parser(stops: str):
    wire, content = await begun()
    taken: list[bytes] = []

    def take(data: bytes) -> bool | None:
        taken.append(data)
        return None if len(taken) == 2 and stops == "stopped" else True

    task = asyncio.create_task(Tap.hand_on(content, take, Silence(60)))
    await asyncio.sleep(0)
    wire.data_received(chunk(EVENT))
    await asyncio.sleep(0)
    wire.data_received(chunk(EVENT))
    if stops == "cancelled":
        task.cancel()
    wire.data_received(chunk(b"rest"))
    wire.data_received(LAST)
    await asyncio.wait([task])

    assert (taken, await content.read(), wire.tap) == ([EVENT] * 2, b"rest", None)


async def test_what_take_raises_in_the_loop_s_callback_ends_the_flow_there():
    wire, content = await begun()

    def fail(data: bytes) -> bool:
        if len(data) > len(EVENT):
            raise ZeroDivisionError
        return True

    task = asyncio.create_task(Tap.hand_on(content, fail, Silence(60)))
    await asyncio.sleep(0)
    wire.data_received(chunk(EVENT))
    await asyncio.sleep(0)
    wire.data_received(chunk(b"larger" + EVENT))
    wire.data_received(chunk(b"rest"))
    wire.data_received(LAST)

    with pytest.raises(ZeroDivisionError):
        await task
    assert await content.read() == b"rest"
