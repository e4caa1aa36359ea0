"""A script's bodies: cut anywhere, replaced by recorded bytes, sent in pieces."""

import aiohttp
import pytest

from gptdock.dev.script import Script
from tests.harness.simulated import RECORDED, ask, ask_stream, chunks, payloads, read, stream, three_words


async def test_an_error_event_ends_the_body(server, session):
    server.script = three_words(error_at=2, error={"message": "oops"})

    data, is_whole = await stream(server, session)

    assert payloads(data)[2:] == ['{"error": {"message": "oops"}}']
    assert is_whole
    assert (server.journal[0].generated, server.journal[0].completed) == (1, False)


@pytest.mark.parametrize("cut", ["close", "rst", "mid_chunk"])
async def test_a_cut_stream_is_broken_before_its_event(server, session, cut):
    server.script = three_words(cut=cut, cut_at=3)

    data, is_whole = await stream(server, session)

    assert not is_whole
    assert len(payloads(data)) == 3
    assert (b" three" in data, data.endswith(b"\n\n")) == (False, cut != "mid_chunk")
    assert (server.journal[0].generated, server.journal[0].completed, server.journal[0].aborted) == (2, False, False)


@pytest.mark.parametrize(("cut", "resets"), [("close", False), ("rst", True)])
async def test_a_reset_and_a_close_are_different_faults(server, session, cut, resets):
    server.script = three_words(cut=cut)

    async with ask_stream(server, session) as response:
        with pytest.raises(aiohttp.ClientPayloadError) as failed:
            await response.read()

    assert ("ConnectionResetError" in str(failed.value)) == resets


async def test_a_cut_may_come_after_the_finish_and_before_the_usage(server, session):
    server.script = three_words(cut="after_finish")

    data, is_whole = await stream(server, session)

    assert not is_whole
    assert chunks(data)[-1]["choices"][0]["finish_reason"] == "stop"
    assert (server.journal[0].generated, server.journal[0].usage) == (3, None)


async def test_a_cut_without_cut_at_comes_before_done(server, session):
    server.script = three_words(cut="close")

    data, is_whole = await stream(server, session)

    assert not is_whole
    assert chunks(data)[-1]["usage"] == server.journal[0].usage
    assert b"[DONE]" not in data


@pytest.mark.parametrize("cut", ["clean_no_done", "close_delimited"])
async def test_some_cuts_look_like_a_proper_end(server, session, cut):
    server.script = three_words(cut=cut, cut_at=2)

    async with ask_stream(server, session) as response:
        data, is_whole = await read(response)

    assert is_whole
    assert len(payloads(data)) == 2
    assert ("Transfer-Encoding" in response.headers) == (cut == "clean_no_done")
    assert (response.headers.get("Connection") == "close") == (cut == "close_delimited")
    assert (server.journal[0].generated, server.journal[0].completed) == (1, False)


async def test_a_request_may_be_taken_and_never_answered(server, session):
    server.script = Script(cut="before_head")

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await stream(server, session)

    assert (server.journal[0].status, server.journal[0].spent, server.journal[0].aborted) == (0, 0, False)


@pytest.mark.parametrize("cut", ["close", "rst"])
async def test_a_whole_answer_is_cut_in_its_middle(server, session, cut):
    server.script = three_words(cut=cut)

    async with ask(server, session) as response:
        data, is_whole = await read(response)

    assert not is_whole
    assert 0 < len(data) < int(response.headers["Content-Length"])
    assert (server.journal[0].generated, server.journal[0].completed) == (3, False)


@pytest.mark.parametrize("piece", [None, 1, 7, 1000])
async def test_a_recorded_body_is_sent_as_it_is(server, session, piece):
    server.script = Script(raw=RECORDED, piece=piece, tokens=5)

    data, is_whole = await stream(server, session)

    assert (data, is_whole) == (RECORDED, True)
    assert server.journal[0].events == (1 if piece is None else -(-len(RECORDED) // piece))
    assert (server.journal[0].generated, server.journal[0].completed) == (5, True)


async def test_a_recorded_body_may_be_cut(server, session):
    server.script = Script(raw=RECORDED, piece=10, cut="close", cut_at=3)

    data, is_whole = await stream(server, session)

    assert (data, is_whole) == (RECORDED[:30], False)


async def test_writes_may_be_of_one_byte_each(server, session):
    server.script = three_words(piece=1)

    async with ask_stream(server, session) as response:
        reads = [data async for data in response.content.iter_any()]

    events = chunks(b"".join(reads))
    assert events[-1]["usage"]["completion_tokens"] == 3
    assert len(reads) > 10 * len(events)


@pytest.mark.parametrize("ending", ["\r", "\r\n"])
async def test_lines_may_end_in_cr_or_crlf(server, session, ending):
    server.script = three_words(line_ending=ending)

    data, _ = await stream(server, session)

    assert data.endswith(f"data: [DONE]{ending}{ending}".encode())
    assert data.count(ending.encode()) == 14


async def test_html_may_be_sent_instead_of_a_stream(server, session):
    server.script = Script(raw=b"<html>", content_type="text/html")

    async with ask_stream(server, session) as response:
        data, _ = await read(response)

    assert (response.status, response.headers["Content-Type"], data) == (200, "text/html", b"<html>")


async def test_html_may_be_sent_with_an_error_status(server, session):
    server.script = Script(status=502, raw=b"<html>", content_type="text/html")

    async with ask(server, session) as response:
        data, _ = await read(response)

    assert (response.status, response.headers["Content-Type"], data) == (502, "text/html", b"<html>")
