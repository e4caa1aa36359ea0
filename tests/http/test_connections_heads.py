"""Heads of requests: how long they may be, and how long they may take, wherever on a connection they come."""

import asyncio
from contextlib import suppress

import pytest

from gptdock.dev.script import Script
from tests.harness.hostile import AUTHORIZED, Fault, connect, question, request

ON_EACH_LOOP = True

HEALTH = request("GET", "/v1/health", headers={})
ASK = request("POST", "/v1/ask", AUTHORIZED, question())
HALF = b"GET /v1/health HTTP/1.1\r\nHost: gptdock\r\nX-Half: "
REFUSED = Fault(400, "invalid_request")


def head(size: int) -> bytes:
    """A request of so many bytes, in lines that are short enough."""
    lines = b"".join(b"X-%03d: %b\r\n" % (number, b"x" * 7000) for number in range((size - 200) // 7009))
    begin = b"GET /v1/health HTTP/1.1\r\nHost: gptdock\r\n" + lines + b"X-Last: "
    return begin + b"x" * (size - len(begin) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("before", [b"", HEALTH, ASK], ids=["first", "second", "behind a body"])
@pytest.mark.parametrize("step", [2**20, 5000], ids=["at once", "in pieces"])
@pytest.mark.parametrize(("size", "answer"), [(65_536, 200), (65_537, 400)])
async def test_a_head_may_have_64_kb_and_no_more(service, before, step, size, answer):
    async with connect(service) as connection:
        data = before + head(size)
        for at in range(0, len(data), step):
            connection.send(data[at : at + step])
            await asyncio.sleep(0)

        if before:
            assert (await connection.answer())[0] == 200
        status, _, body = await connection.answer()

    assert status == answer
    assert b"xxx" not in body


async def test_a_head_that_is_too_long_is_refused_before_it_ends(service):
    async with connect(service) as connection:
        connection.send(head(100_000)[:70_000])

        assert await connection.fault() == REFUSED
        assert await connection.rest() == b""


@pytest.mark.parametrize("before", [b"", HEALTH, ASK], ids=["first", "second", "behind a body"])
async def test_a_head_of_900_kb_ends_its_connection(service, before):
    async with connect(service) as connection:
        connection.send(before + head(900_000))
        with suppress(ConnectionResetError):  # what was sent in vain may reset it before the answers are read
            assert b" 400 Bad Request\r\n" in await connection.rest()


@pytest.mark.parametrize("before", [HEALTH, ASK, HEALTH + ASK, ASK + HEALTH])
@pytest.mark.parametrize("half", [b"G", HEALTH[:-1]], ids=["a byte", "all but a byte"])
@pytest.mark.parametrize("together", [True, False], ids=["behind", "later"])
async def test_a_later_head_that_stays_incomplete_is_closed_at_the_deadline(serve, before, half, together):
    async with serve(head_timeout=0.3) as service, connect(service) as connection:
        connection.send(before + (half if together else b""))
        for _ in range(before.count(b"HTTP/1.1")):
            assert (await connection.answer())[0] == 200
        if not together:
            connection.send(half)

        assert await connection.rest() == b""


@pytest.mark.parametrize("step", [1, 7, 100, 1000])
async def test_a_later_head_in_pieces_is_in_time_however_it_is_split(serve, step):
    async with serve(head_timeout=0.3) as service, connect(service) as connection:
        data = ASK + HEALTH + b"\r\n" + ASK
        for at in range(0, len(data), step):
            connection.send(data[at : at + step])
            await asyncio.sleep(0)
        for _ in range(3):
            assert (await connection.answer())[0] == 200
        async with connect(service) as silent:
            assert await silent.rest() == b""  # the deadline of a later connection
        connection.send(HEALTH)

        assert (await connection.answer())[0] == 200


async def test_half_a_head_behind_an_answer_does_not_cut_it(serve):
    async with serve(head_timeout=0.2) as service, connect(service) as connection:
        service.openai.script = Script(hold_at=2)
        connection.send(request("POST", "/v1/ask", AUTHORIZED, question(stream=True)) + HALF)
        await service.openai.journal.sent(2)
        async with connect(service) as silent:
            assert await silent.rest() == b""
        service.openai.release()

        assert b"data: [DONE]" in await connection.rest()


@pytest.mark.parametrize("chunk", [2**16, 1])
async def test_a_body_is_no_head_however_long_it_is(service, chunk):
    body = question(question="a" * 20_000)
    asked = request("POST", "/v1/ask", AUTHORIZED | {"Transfer-Encoding": "chunked"})
    pieces = (body[at : at + chunk] for at in range(0, len(body), chunk))
    asked += b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    for data in (asked, request("POST", "/v1/ask", AUTHORIZED, body.ljust(200_000)) + HEALTH):
        async with connect(service) as connection:
            connection.send(data)

            assert (await connection.answer())[0] != 400
            if data is not asked:
                assert (await connection.answer())[0] == 200
