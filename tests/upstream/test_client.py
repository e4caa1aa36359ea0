"""What comes of an upstream that misbehaves before the first byte: what the caller sees, and what it costs."""

import asyncio
import json
import logging
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest

from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.upstream import client
from tests.harness.hostile import (
    PATIENCE_SECONDS,
    Fault,
    bound_socket,
    check_nothing_is_left,
    fault_of,
    raw_upstream,
    read_request,
    url_of,
)
from tests.harness.service import QUESTION, sse_data

AT_ONCE = {"Retry-After": "0"}  # so that no test waits for a retry
BROKEN = Fault(502, "upstream_error")
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
WHOLE = b'{"choices": [], "usage": {"total_tokens": 7, "prompt_tokens": 4, "completion_tokens": 3}}'


@pytest.fixture
def quick(monkeypatch):
    """Retries without a Retry-After happen at once: full jitter may say so."""
    monkeypatch.setattr("gptdock.upstream.client.random.random", lambda: 0.0)


def tries_that_failed(caplog):
    """How many tries were logged as failed without an answer."""
    return sum(record.getMessage() == "upstream failed" for record in caplog.records)


async def ask_for_fault(service, stream):
    async with service.ask(stream=stream) as response:
        return await fault_of(response)


async def check_only_released(service):
    """Nothing was charged, no receipt says otherwise, and the next question is answered."""
    assert await service.receipts() == []
    await check_nothing_is_left(service, used=0)


async def check_counted_once(service):
    """One receipt: the prompt at least, at most the hold."""
    [receipt] = await service.receipts()
    prompt_tokens = service.openai.journal[0].prompt_tokens
    assert receipt["source"] == "counted"
    assert prompt_tokens <= receipt["tokens"] <= prompt_tokens + 8 + 1000
    await check_nothing_is_left(service, used=receipt["tokens"])


async def check_upstream_down(service):
    """An upstream that cannot be asked: nothing charged, and the service lives."""
    info = await service.info()
    assert (info["quota_used"], info["quota_held"]) == (0, 0)
    assert await service.receipts() == []


async def check_broken_answer_counted(service):
    """It had the request, so what it sent may have been an answer: one receipt, and nothing held."""
    [receipt] = await service.receipts()
    info = await service.info()
    assert (receipt["source"], info["quota_used"], info["quota_held"]) == ("counted", receipt["tokens"], 0)


# --- not reached


@both_ways
async def test_a_refused_connection_is_tried_three_times(serve, quick, caplog, stream):
    with bound_socket() as sock:
        async with serve(openai_base_url=url_of(sock)) as service:
            fault = await ask_for_fault(service, stream)

            assert (fault, tries_that_failed(caplog)) == (BROKEN, 3)
            await check_upstream_down(service)


@both_ways
async def test_a_name_that_nobody_knows_is_tried_once(serve, caplog, stream):
    async with serve(openai_base_url="http://upstream.invalid/v1", connect_timeout=1) as service:
        fault = await ask_for_fault(service, stream)

        assert (fault, tries_that_failed(caplog)) == (BROKEN, 1)
        await check_upstream_down(service)


@both_ways
async def test_a_connection_that_is_not_answered_ends_at_the_deadline(serve, caplog, stream):
    with _unroutable() as sock:
        async with serve(openai_base_url=url_of(sock), connect_timeout=0.2) as service:
            async with asyncio.timeout(PATIENCE_SECONDS):
                fault = await ask_for_fault(service, stream)

            assert (fault, tries_that_failed(caplog)) == (BROKEN, 1)
            await check_upstream_down(service)


@both_ways
async def test_an_upstream_without_tls_where_it_should_have_it_is_tried_once(serve, openai, caplog, stream):
    async with serve(openai_base_url=openai.url.replace("http:", "https:")) as service:
        fault = await ask_for_fault(service, stream)

        assert (fault, tries_that_failed(caplog)) == (BROKEN, 1)
        assert openai.requests == 0
        await check_upstream_down(service)


@both_ways
async def test_an_upstream_that_speaks_no_http_is_tried_once(serve, caplog, stream):
    async def greet(reader, writer):
        await read_request(reader)
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

    async with raw_upstream(greet) as url, serve(openai_base_url=url) as service:
        fault = await ask_for_fault(service, stream)

        assert (fault, tries_that_failed(caplog)) == (BROKEN, 1)
        await check_broken_answer_counted(service)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


WORDS = b'data: {"choices":[{"delta":{"content":" word"}}]}\n\n'


@pytest.mark.parametrize(
    ("stream", "parts"),
    [
        (True, (chunk(WORDS), b"ZZ\r\n")),
        (True, (chunk(WORDS), b"5\r\nabcdeXX5\r\n")),
        (True, (b"ZZ\r\n",)),
        (False, (chunk(WHOLE[:20]), b"ZZ\r\n")),
    ],
)
@pytest.mark.parametrize("turns", [0, 1, 20])  # in one segment with the head, just behind it, or later
async def test_an_answer_whose_chunks_are_none_has_broken_off(serve, stream, parts, turns):
    """At once, and not at a deadline: aiohttp closes the connection, and does not tell who reads the body."""

    async def break_off(reader, writer):
        await read_request(reader)
        kind = b"text/event-stream" if stream else b"application/json"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % kind)
        for part in parts:
            writer.write(part)
            for _ in range(turns):
                await asyncio.sleep(0)
        await reader.read()

    deadlines = {"event_timeout": 5, "first_event_timeout": 5, "request_timeout": 5}
    async with raw_upstream(break_off) as url, serve(openai_base_url=url, **deadlines) as service:
        async with service.ask(stream=stream) as response:
            body = await response.read()

        assert b"upstream_error" in body
        assert b"upstream_timeout" not in body
        await check_broken_answer_counted(service)


async def test_an_answer_that_cannot_be_read_is_charged_by_count_and_not_asked_for_again(serve):
    async def answer(reader, writer):
        await read_request(reader)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % (len(WHOLE) - 1) + WHOLE)

    async with raw_upstream(answer) as url, serve(openai_base_url=url) as service:
        async with service.ask() as response:
            assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")

        await check_broken_answer_counted(service)


async def test_a_content_type_that_takes_long_to_read_is_read_as_far_as_it_matters(serve):
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: Application/JSON ;%s\r\n\r\n" % (b"(" * 4000) + WHOLE)
        writer.close()

    async with raw_upstream(answer) as url, serve(openai_base_url=url) as service, service.ask() as response:
        assert await response.read() == WHOLE


async def test_a_stream_may_begin_with_an_event_without_data(service):
    service.openai.script = Script(raw=b"data:\n\ndata: {}\n\ndata: [DONE]\n\n")

    async with service.ask(stream=True) as response:
        assert sse_data(await response.read())[-2:] == [b"{}", b"[DONE]"]


# --- broken off


@both_ways
async def test_an_upstream_that_accepts_and_closes_is_tried_three_times_and_charged_once(service, quick, stream):
    service.openai.script = Script(cut="before_head")

    fault = await ask_for_fault(service, stream)

    assert (fault, service.openai.requests) == (BROKEN, 3)
    await check_counted_once(service)


@both_ways
async def test_an_upstream_that_closes_and_then_answers_is_charged_once(service, quick, stream):
    service.openai.next(Script(cut="before_head"), Script(cut="before_head"))

    async with service.ask(stream=stream) as response:
        assert response.status == 200
        await response.read()

    assert service.openai.requests == 3
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["tokens"]) == ("upstream", service.openai.journal[-1].spent)
    await check_nothing_is_left(service, receipt["tokens"])


@both_ways
async def test_a_pooled_connection_that_went_stale_costs_nobody_an_answer(serve, quick, stream):
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


async def test_a_connection_that_answered_whole_is_used_again_and_its_cookies_are_not(serve):
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


@both_ways
@pytest.mark.parametrize("cut", ["close", "rst", "close_delimited"])
async def test_a_head_and_then_nothing_is_an_upstream_that_broke_off(service, stream, cut):
    service.openai.script = Script(cut=cut, cut_at=0) if stream else Script(cut=cut)

    fault = await ask_for_fault(service, stream)

    assert (fault.status, service.openai.requests) == (502, 1)


# --- silent


@both_ways
async def test_an_upstream_without_a_head_is_left_at_the_deadline(serve, stream):
    async with serve(first_event_timeout=0.2, request_timeout=0.2 if not stream else 60) as service:
        service.openai.script = Script(stall_at=BEFORE_HEAD)

        fault = await ask_for_fault(service, stream)

        assert (fault, service.openai.requests) == (Fault(504, "upstream_timeout"), 1)
        await service.openai.journal.left()
        await check_counted_once(service)


@pytest.mark.parametrize("comments_every", [None, 0.02])
async def test_a_head_without_an_event_is_left_at_the_deadline_whatever_comments_come(serve, comments_every):
    async with serve(first_event_timeout=0.2) as service:
        service.openai.script = Script(stall_at=0, comments_every=comments_every)

        fault = await ask_for_fault(service, stream=True)

        assert (fault, service.openai.requests) == (Fault(504, "upstream_timeout"), 1)
        await service.openai.journal.left()
        await check_counted_once(service)


async def test_the_first_event_may_take_longer_than_any_later_one(serve):
    async with serve(event_timeout=0.001, first_event_timeout=60) as service:
        service.openai.script = Script(raw=b"data: {}\n\ndata: [DONE]\n\n", first_event_seconds=0.05)

        async with service.ask(stream=True) as response:
            assert sse_data(await response.read()) == [b"{}", b"[DONE]"]


# --- refused


@both_ways
@pytest.mark.parametrize("statuses", [(500,), (502, 503), (504, 429)])
async def test_an_upstream_that_recovers_answers_and_is_charged_once(service, stream, statuses):
    service.openai.script = Script(statuses=statuses, headers=AT_ONCE)

    async with service.ask(stream=stream) as response:
        assert response.status == 200
        await response.read()

    assert service.openai.requests == len(statuses) + 1
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["tokens"]) == ("upstream", service.openai.journal[-1].spent)
    await check_nothing_is_left(service, receipt["tokens"])


@both_ways
async def test_an_upstream_that_fails_three_times_has_failed(service, quick, stream):
    statuses = (500, 502, 503, 504)
    for tried, status in enumerate(statuses):
        service.openai.script = Script(status=status, error={"message": "hush-hush", "code": None})
        async with service.ask(stream=stream) as response:
            assert await fault_of(response) == BROKEN
            assert b"hush-hush" not in await response.read()

        assert service.openai.requests == 3 * (tried + 1)
    await check_only_released(service)


@both_ways
async def test_what_the_upstream_would_say_again_is_asked_once(service, stream):
    statuses = (400, 401, 403, 404, 409, 422, 301, 302, 303, 307, 308, 201, 204)
    headers = {"Location": f"{service.openai.url}/chat/completions"}
    for tried, status in enumerate(statuses):
        service.openai.script = Script(status=status, headers=headers, raw=b"" if status == 204 else None)

        assert await ask_for_fault(service, stream) == BROKEN

        assert service.openai.requests == tried + 1
    await check_only_released(service)


@both_ways
async def test_the_upstream_may_say_whether_to_retry(service, quick, stream):
    tried = 0
    for told, status, tries in (("false", 500, 1), ("false", 429, 1), ("true", 409, 3)):
        service.openai.script = Script(status=status, headers={"x-should-retry": told})

        assert (await ask_for_fault(service, stream)).status == (429 if status == 429 else 502)

        tried += tries
        assert service.openai.requests == tried
    await check_only_released(service)


@both_ways
async def test_a_rate_limit_is_passed_on_after_our_retries(service, quick, stream):
    tried = 0
    for retry_after, tries, told in (
        (None, 3, 1),
        ("0", 3, 1),
        ("6", 1, 6),
        ("3600", 1, 3600),
        ("soon", 3, 1),
        ("-1", 3, 1),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 3, 1),
    ):
        service.openai.script = Script(status=429, headers={"Retry-After": retry_after} if retry_after else {})

        async with service.ask(stream=stream) as response:
            assert await fault_of(response) == Fault(429, "rate_limited")

        tried += tries
        assert (response.headers["Retry-After"], service.openai.requests) == (str(told), tried)
    await check_only_released(service)


async def test_a_rate_limit_until_a_year_that_is_no_year_is_passed_on(service, quick):
    headers = {"Retry-After": "Mon, 23 Nov 99999999999999999999 05:05:45 GMT"}
    service.openai.script = Script(status=429, headers=headers)

    assert await ask_for_fault(service, stream=True) == Fault(429, "rate_limited")

    await check_only_released(service)


async def test_a_rate_limit_until_a_date_is_passed_on_in_seconds(service):
    until = datetime.now(UTC) + timedelta(hours=1)
    service.openai.script = Script(status=429, headers={"Retry-After": format_datetime(until, usegmt=True)})

    async with service.ask() as response:
        fault = await fault_of(response)

    assert (fault, service.openai.requests) == (Fault(429, "rate_limited"), 1)
    assert 3000 < int(response.headers["Retry-After"]) <= 3600


@both_ways
async def test_an_upstream_account_without_money_is_asked_once(service, stream):
    error = {"message": "hush-hush", "type": "insufficient_quota", "code": "insufficient_quota"}
    service.openai.script = Script(status=429, error=error, headers={"x-should-retry": "true"} | AT_ONCE)

    async with service.ask(stream=stream) as response:
        fault = await fault_of(response)

    assert (fault, service.openai.requests) == (Fault(503, "upstream_quota"), 1)
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["x-should-retry"] == "false"
    await check_only_released(service)


@both_ways
async def test_a_context_that_is_too_long_is_the_caller_s_to_shorten(service, stream):
    service.openai.script = Script(status=400, error={"message": "hush-hush", "code": "context_length_exceeded"})

    async with service.ask(stream=stream) as response:
        fault = await fault_of(response)
        body = await response.read()

    assert (fault, service.openai.requests) == (Fault(400, "context_length_exceeded"), 1)
    assert b"hush-hush" not in body
    await check_only_released(service)


async def test_a_lasting_failure_does_not_triple_the_load(service):
    service.openai.script = Script(status=500, headers=AT_ONCE)

    for _ in range(50):
        assert await ask_for_fault(service, stream=False) == BROKEN

    assert service.openai.requests <= 50 + 50 + 50 / 10
    await check_only_released(service)


# --- something else than an answer


async def test_what_is_no_stream_is_not_relayed(service):
    scripts = [
        Script(raw=b"<html>Sign in to the hotel</html>", content_type="text/html"),
        Script(raw=b"<html>Sign in to the hotel</html>"),
        Script(raw=b"data: <html>\n\n"),
        Script(raw=b"data: [1]\n\n"),
        Script(raw=b"data:\n\n"),
        Script(raw=b"\n\n\n"),
        Script(raw=b": only a comment\n\n"),
        Script(raw=b""),
        Script(raw=WHOLE, content_type="application/json"),
        Script(raw=b"", content_type="text/event-stream, text/html"),
    ]
    faults = {}
    for script in scripts:
        service.openai.script = script
        faults[script.raw] = await ask_for_fault(service, stream=True)

    assert set(faults.values()) == {BROKEN}
    assert service.openai.requests == len(scripts)
    await check_only_released(service)


async def test_what_is_no_answer_is_not_relayed(service):
    scripts = [
        Script(raw=b"<html>Sign in to the hotel</html>", content_type="text/html"),
        Script(raw=b"[]"),
        Script(raw=b"null"),
        Script(raw=b'{"error": {"code": null}}'),
        Script(raw=b"data: {}\n\ndata: [DONE]\n\n", content_type="text/event-stream"),
    ]
    faults = {}
    for script in scripts:
        service.openai.script = script
        faults[script.raw] = await ask_for_fault(service, stream=False)

    assert set(faults.values()) == {BROKEN}
    assert service.openai.requests == len(scripts)
    await check_only_released(service)


async def test_a_whole_answer_that_says_what_it_used_is_charged_whatever_else_it_lacks(service):
    service.openai.script = Script(raw=b'{"usage": {"total_tokens": 7}}')

    async with service.ask() as response:
        assert (response.status, await response.read()) == (200, service.openai.script.raw)

    await check_nothing_is_left(service, used=7)


async def test_a_whole_answer_of_nothing_is_not_charged(service):
    service.openai.script = Script(raw=b"")

    assert await ask_for_fault(service, stream=False) == BROKEN

    await check_only_released(service)


@pytest.mark.parametrize("raw", [b'{"choices": [', b"[" * 100_000, b"{\xff}"])
async def test_an_answer_that_cannot_be_read_is_counted(service, raw):
    service.openai.script = Script(raw=raw)

    fault = await ask_for_fault(service, stream=False)

    assert (fault, service.openai.requests) == (BROKEN, 1)
    await check_counted_once(service)


async def test_an_answer_without_end_is_left(service, monkeypatch):
    monkeypatch.setattr(client, "MOST_ANSWER_BYTES", 1000)
    service.openai.script = Script(raw=WHOLE.ljust(1001))

    fault = await ask_for_fault(service, stream=False)

    assert (fault, service.openai.requests) == (BROKEN, 1)
    await check_counted_once(service)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (None, BROKEN),
        ("rate_limit_exceeded", Fault(429, "rate_limited")),
        ("insufficient_quota", Fault(503, "upstream_quota")),
        ("context_length_exceeded", Fault(400, "context_length_exceeded")),
    ],
)
async def test_an_error_instead_of_the_first_event_has_its_status(service, code, fault):
    service.openai.script = Script(error_at=0, error={"message": "hush-hush", "code": code})

    assert await ask_for_fault(service, stream=True) == fault

    await check_only_released(service)


# --- well


async def test_more_streams_than_aiohttp_has_pooled_connections_run_at_once(service):
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


def _by_name(url):
    """Cookies are kept for names only."""
    return url.replace("127.0.0.1", "localhost")


async def _stream(session, url):
    async with session.post(url, json=QUESTION | {"stream": True}) as response:
        return sse_data(await response.read())[-1]


async def test_a_head_that_is_long_is_no_reason_to_lose_an_answer(serve):
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Trace: %b\r\n\r\n" % (b"x" * 30_000))
        writer.write(WHOLE)
        writer.close()

    async with raw_upstream(answer) as url, serve(openai_base_url=url) as service:
        async with service.ask() as response:
            assert response.status == 200

        assert (await service.info())["quota_used"] == 7


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


class _unroutable:  # noqa: N801 - used like a function
    """An address at which connections are neither taken nor refused: its queue is full."""

    def __enter__(self):
        self._sock = bound_socket()
        self._sock.listen(0)
        self._waiting = [socket.socket() for _ in range(3)]
        for waiting in self._waiting:
            waiting.setblocking(False)
            waiting.connect_ex(self._sock.getsockname())
        return self._sock

    def __exit__(self, *exc):
        for sock in (*self._waiting, self._sock):
            sock.close()
