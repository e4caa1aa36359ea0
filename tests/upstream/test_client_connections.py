"""Connections to the upstream: reused, as many as needed, without cookies or leaks."""

import asyncio
import json
import logging

import aiohttp
import pytest

from gptdock.dev.script import Script
from tests.harness.hostile import (
    check_nothing_is_left,
    raw_upstream,
    read_request,
)
from tests.harness.service import QUESTION, sse_data
from tests.harness.upstream_faults import (
    WHOLE,
    ask_for_fault,
    both_ways,
)

pytestmark = pytest.mark.usefixtures("each_flow")


@both_ways
async def test_a_stale_pooled_connection_costs_no_caller_an_answer(serve, quick, stream):
    served = []

    async def serve_one(reader, writer):
        head, _ = await read_request(reader)
        served.append(head)
        body, kind = (b"data: %s\n\ndata: [DONE]\n\n" % WHOLE, "event-stream") if stream else (WHOLE, "json")
        kind = f"text/{kind}" if stream else f"application/{kind}"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind.encode(), len(body)))
        writer.write(body)
        await read_request(reader)  # the second request on this connection finds it closed
        writer.close()

    async with raw_upstream(serve_one) as url, serve(openai_base_url=url) as service:
        statuses = []
        for _ in range(2):
            async with service.ask(stream=stream) as response:
                await response.read()
                statuses.append(response.status)

        assert (statuses, len(served)) == ([200, 200], 2)
        assert [receipt["tokens"] for receipt in await service.receipts()] == [7, 7]


async def test_a_connection_whose_stream_ends_after_its_last_event_is_used_again(serve):
    connections, ends = [], asyncio.Queue[None]()

    async def serve_slowly_ended(reader, writer):
        connections.append(writer)
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"18\r\ndata: {}\n\ndata: [DONE]\n\n\r\n")
            await ends.get()
            writer.write(b"0\r\n\r\n")

    async with raw_upstream(serve_slowly_ended) as url, serve(openai_base_url=url) as service:
        for _ in range(3):
            async with service.ask(stream=True) as response:
                assert sse_data(await response.read()) == [b"{}", b"[DONE]"]
            ends.put_nowait(None)
            await service.ledger.settled()

        assert len(connections) == 1


async def test_a_connection_is_used_again_and_its_cookies_are_not(serve):
    connections, heads = [], []

    async def serve_cookies(reader, writer):
        connections.append(writer)
        while True:
            heads.append((await read_request(reader))[0])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: track=me\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(WHOLE) + WHOLE)

    async with (
        raw_upstream(serve_cookies) as url,
        serve(openai_base_url=url.replace("127.0.0.1", "localhost")) as service,
    ):
        for _ in range(3):
            async with service.ask() as response:
                assert await response.read() == WHOLE
                assert "Set-Cookie" not in response.headers

    assert (len(connections), len(heads)) == (1, 3)
    assert not any(b"track" in head for head in heads)


async def test_more_streams_than_the_default_pool_of_aiohttp_run_at_once(service):
    count = 150
    service.openai.script = Script(hold_at=0)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers=dict(service.session.headers)
    ) as session:
        asked = [asyncio.create_task(_stream(session, f"{service.url}/v1/ask")) for _ in range(count)]
        await service.openai.journal.arrived(count)
        service.openai.release()

        lasts = await asyncio.gather(*asked)

    assert lasts == [b"[DONE]"] * count
    await check_nothing_is_left(service, sum(record.spent for record in service.openai.journal))


async def _stream(session, url):
    async with session.post(url, json=QUESTION | {"stream": True}) as response:
        return sse_data(await response.read())[-1]


@both_ways
async def test_the_upstream_is_asked_with_our_key_and_for_no_compression(serve, stream):
    heads: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()

    async def note(reader, writer):
        heads.put_nowait(await read_request(reader))
        writer.close()

    async with raw_upstream(note) as url, serve(openai_base_url=url) as service:
        async with service.session.post(
            f"{service.url}/v1/ask",
            json=QUESTION | {"stream": stream},
            headers={"X-Request-Id": "mine", "Cookie": "a=b"},
        ) as response:
            await response.read()

        head, body = heads.get_nowait()
    lines = head.lower().split(b"\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"authorization: bearer sk-upstream-secret" in lines
    assert b"accept-encoding: identity" in lines
    assert b"content-type: application/json" in lines
    assert b"test-key" not in head
    assert b"cookie" not in head.lower()
    assert json.loads(body)["messages"][-1]["content"] == "Who are you?"


async def test_no_answer_or_key_is_in_a_log(service, caplog):
    caplog.set_level(logging.DEBUG, logger="gptdock")
    service.openai.next(Script(status=400, error={"message": "hush-hush", "code": "x"}))
    service.openai.next(Script(raw=b"hush-hush"))

    for stream in (False, True):
        await ask_for_fault(service, stream)

    assert "hush-hush" not in caplog.text
    assert "sk-upstream-secret" not in caplog.text
