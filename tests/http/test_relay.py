"""The relay, through the whole service: what the caller sees, and what it costs, whatever breaks."""

import asyncio
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gptdock.accounts import Account
from gptdock.dev.script import BEFORE_HEAD, Cut, Script
from gptdock.http.caller import Caller
from gptdock.ledger.charges import UNSEEN_TOKENS_PER_SECOND
from gptdock.upstream import client
from gptdock.upstream.client import Stream
from gptdock.upstream.meter import Meter
from gptdock.upstream.sse import Event, EventSplitter
from tests.harness.hostile import (
    AUTHORIZED,
    PATIENCE_SECONDS,
    check_nothing_is_left,
    connect,
    deaf_caller,
    question,
    raw_upstream,
    read_request,
    request,
)
from tests.harness.service import Service, sse_data

RECORDED = (Path(__file__).parents[1] / "data/ask_stream.sse").read_bytes()
TEXT = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
USAGE_OF_5 = b'data: {"choices":[],"usage":{"total_tokens":5}}\n\n'
CUTS: list[Cut] = ["close", "rst", "mid_chunk", "after_finish", "clean_no_done", "close_delimited"]


async def test_the_recorded_stream_comes_out_as_it_went_in(serve):
    async with serve(openai_model="gpt-3.5-turbo") as service:
        service.openai.script = Script(raw=RECORDED, piece=7)

        async with service.ask(stream=True) as response:
            body = await response.read()

        assert body == RECORDED
        [receipt] = await service.receipts()
    assert (receipt["completion_tokens"], receipt["source"], receipt["outcome"]) == (51, "counted", "complete")


async def test_a_whole_answer_comes_out_as_it_went_in_and_is_charged_by_its_usage(service: Service):
    async with service.ask() as response:
        answer = await response.json()

    assert answer["choices"][0]["message"]["content"]
    await check_nothing_is_left(service, used=answer["usage"]["total_tokens"])


async def test_a_stream_ends_with_done_and_hides_the_usage_chunk(service: Service):
    async with service.ask(stream=True) as response:
        events = sse_data(await response.read())

    assert events[-1] == b"[DONE]"
    assert not any(json.loads(event)["choices"] == [] for event in events[:-1])
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_events_are_passed_on_as_they_come(service: Service):
    service.openai.script = Script(hold_at=3)

    async with service.ask(stream=True) as response:
        first = b"".join([await response.content.readuntil(b"\n\n") for _ in range(3)])
        service.openai.release()
        rest = await response.read()

    assert len(sse_data(first)) == 3
    assert rest.endswith(b"data: [DONE]\n\n")


async def test_the_upstream_is_asked_for_usage_and_for_no_more_than_was_held(service: Service):
    async with service.ask(stream=True) as response:
        await response.read()

    asked = service.openai.journal[0].request
    assert asked["stream_options"] == {"include_usage": True}
    assert (asked["n"], asked["max_completion_tokens"], asked["model"]) == (1, 1000, "gpt-4o-mini")


# --- the caller leaves


@pytest.mark.parametrize("silent", [True, False])
async def test_a_caller_who_leaves_pays_for_what_came_and_the_upstream_is_closed(service: Service, silent: bool):
    service.openai.script = Script(tokens=400, stall_at=9) if silent else Script(tokens=400, token_seconds=0.005)
    async with service.ask(stream=True) as response:
        await service.openai.journal.sent(9)
        response.close()

    [record] = await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
    assert receipt["prompt_tokens"] == record.prompt_tokens
    assert 0 <= record.generated - receipt["completion_tokens"] <= 1  # one may be on its way
    await check_nothing_is_left(service, used=receipt["tokens"])


@pytest.mark.parametrize("reset", [True, False])
async def test_however_a_caller_hangs_up_the_silent_upstream_is_closed(service: Service, reset: bool):
    service.openai.script = Script(tokens=400, stall_at=9)
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED, question(stream=True)))
        for _ in range(9):  # all of it is read: the kernel makes a reset of a close before that
            await connection.reader.readuntil(b"\n\n")
        connection.hang_up(reset=reset)

        async with asyncio.timeout(PATIENCE_SECONDS):
            [record] = await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
    assert 0 <= record.spent - receipt["tokens"] <= 1
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_a_whole_answer_without_a_usage_costs_what_was_thought_before_it_came(serve):
    async with serve(openai_model="o4-mini") as service:
        service.openai.script = Script(tokens=20, first_event_seconds=0.2, usage=False)
        async with service.ask() as response:
            assert response.status == 200

        [receipt] = await service.receipts()
        assert receipt["completion_tokens"] >= 20 + 0.2 * UNSEEN_TOKENS_PER_SECOND


@pytest.mark.parametrize(("model", "thinks"), [("o4-mini", True), ("gpt-4o-mini", False)])
async def test_who_leaves_after_the_first_words_pays_for_what_was_thought_before_them(serve, model: str, thinks: bool):
    async with serve(openai_model=model) as service:
        service.openai.script = Script(tokens=20, first_event_seconds=0.2, stall_at=4)
        async with service.ask(stream=True) as response:
            await service.openai.journal.sent(4)
            response.close()
        [record] = await service.openai.journal.left()

        [receipt] = await service.receipts()
        thought_tokens = receipt["completion_tokens"] - record.generated
        assert thought_tokens >= 0.2 * UNSEEN_TOKENS_PER_SECOND if thinks else thought_tokens <= 0
        await check_nothing_is_left(service, used=receipt["tokens"])


async def test_what_was_thought_before_the_first_words_is_in_the_will(serve):
    async with serve(openai_model="o4-mini", progress_seconds=0.05) as service:
        service.openai.script = Script(tokens=20, first_event_seconds=0.2, hold_at=4)
        async with service.ask(stream=True) as response:
            for _ in range(3):
                await response.content.readuntil(b"\n\n")
            numbers: set[int] = set()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(numbers) < 3:  # of the lease as it is, of one that may be in flight, of one that knows
                    book = await service.ledger.read(Account("c1", "p1"), service.ledger.period())
                    lease = book.leases[service.ledger.process]
                    numbers.add(lease.number)

            prompt_tokens = service.openai.journal[0].prompt_tokens
            assert lease.will >= prompt_tokens + 0.2 * UNSEEN_TOKENS_PER_SECOND
            service.openai.release()
            await response.read()
        await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_what_was_received_and_not_yet_passed_on_is_charged(service: Service):
    """The caller leaves while GPTDock is busy and much has arrived: it was generated, so it is charged."""
    service.openai.script = Script(tokens=50, hold_at=1)
    reading, all_is_here = Stream.read, asyncio.Event()

    async def busy(stream: Stream) -> list[Event]:
        if stream._first:
            return await reading(stream)
        while b"[DONE]" not in b"".join(stream._content._buffer):  # noqa: ASYNC110 - aiohttp tells nobody
            await asyncio.sleep(0)
        all_is_here.set()
        await asyncio.Event().wait()
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stream, "read", busy)
        async with service.ask(stream=True) as response:
            service.openai.release()
            async with asyncio.timeout(5):
                await all_is_here.wait()
            response.close()
        [receipt] = await service.receipts()

    assert receipt["tokens"] == service.openai.journal[0].spent


async def test_who_leaves_after_the_last_text_and_before_the_usage_pays(service: Service):
    service.openai.script = Script(tokens=20, hold_at=22)
    async with service.ask(stream=True) as response:
        while b'"finish_reason":"stop"' not in await response.content.readuntil(b"\n\n"):
            continue
        response.close()

    [record] = await service.openai.journal.left()

    await check_nothing_is_left(service, used=record.spent)


async def test_who_leaves_right_after_done_did_not_leave(service: Service):
    async with service.ask(stream=True) as response:
        while b"[DONE]" not in await response.content.readuntil(b"\n\n"):
            continue
        response.close()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("upstream", "complete")
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_who_leaves_in_the_middle_of_a_whole_answer_pays_for_what_may_have_come(service: Service):
    service.openai.script = Script(tokens=20, stall_at=9)
    asking = asyncio.create_task(_read(service, stream=False))
    await service.openai.journal.sent(9)

    asking.cancel()
    [record] = await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
    assert receipt["tokens"] > receipt["prompt_tokens"] == record.prompt_tokens
    await check_nothing_is_left(service, used=receipt["tokens"])


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_before_the_upstream_s_head_pays_the_prompt_and_what_may_have_come(
    service: Service, stream: bool
):
    service.openai.script = Script(stall_at=BEFORE_HEAD)
    asking = asyncio.create_task(_read(service, stream=stream))
    record = await service.openai.journal.arrived()

    asking.cancel()
    await service.openai.journal.ended()

    [receipt] = await service.receipts()
    assert receipt["prompt_tokens"] == record.prompt_tokens
    assert receipt["outcome"] == "caller_left"
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_a_caller_who_closes_his_side_after_the_request_is_taken_to_have_left(service: Service):
    service.openai.script = Script(stall_at=3)
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED, question(stream=True)))
        await service.openai.journal.sent(3)
        connection.writer.write_eof()
        await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert receipt["outcome"] == "caller_left"
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_a_caller_who_does_not_read_is_cut(serve):
    async with serve(write_timeout=0.3) as service:
        service.openai.script = Script(raw=RECORDED.removesuffix(b"data: [DONE]\n\n") * 2000)
        with await deaf_caller(service, stream=True) as deaf:
            await service.openai.journal.left()

            [receipt] = await service.receipts()
            with pytest.raises(ConnectionResetError):  # the kernel keeps nothing for it
                await _read_all(deaf)
        assert receipt["outcome"] == "caller_left"
        assert receipt["tokens"] == 1000 + 8 + receipt["prompt_tokens"], "text for more than the hold was received"
        await check_nothing_is_left(service, used=receipt["tokens"])


async def test_an_answer_whose_end_could_not_be_written_in_time_is_not_complete(serve):
    raw = TEXT.replace(b"Hi", b"y" * 3700) * 50 + USAGE_OF_5 + b"data: [DONE]\n\n"
    async with serve(request_timeout=0.5, write_timeout=0.5) as service:
        service.openai.script = Script(raw=raw)
        with await deaf_caller(service, stream=True):
            await service.openai.journal.ended()

            [receipt] = await service.receipts()
        assert (receipt["tokens"], receipt["outcome"]) == (5, "upstream_timeout")


async def test_no_error_follows_a_done_that_is_on_its_way(serve, monkeypatch: pytest.MonkeyPatch):
    write = Caller.write

    async def stuck(caller: Caller, data: bytes) -> None:
        await write(caller, data)
        if b"[DONE]" in data:
            await asyncio.Event().wait()

    monkeypatch.setattr(Caller, "write", stuck)
    async with serve(request_timeout=0.3) as service, service.ask(stream=True) as response:
        body = bytearray()
        with suppress(aiohttp.ClientError):
            async for piece in response.content.iter_any():
                body += piece

        [receipt] = await service.receipts()
    assert sse_data(bytes(body))[-1] == b"[DONE]"
    assert (receipt["source"], receipt["outcome"]) == ("upstream", "upstream_timeout")


async def test_a_deadline_that_comes_after_the_end_of_an_answer_is_none(serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "REST_SECONDS", PATIENCE_SECONDS)

    async def never_end(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + TEXT + USAGE_OF_5)
        writer.write(b"data: [DONE]\n\n")
        await reader.read()

    async with (
        raw_upstream(never_end) as url,
        serve(openai_base_url=url, request_timeout=0.3) as service,
        connect(service) as connection,
    ):
        connection.send(request("POST", "/v1/ask", AUTHORIZED, question(stream=True)))
        await connection.reader.readuntil(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        [receipt] = await service.receipts()
        connection.send(request("GET", "/v1/health"))

        assert (await connection.answer())[0] == 200
    assert (receipt["tokens"], receipt["outcome"]) == (5, "complete")


async def _read_all(sock: socket.socket) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await asyncio.get_running_loop().sock_recv(sock, 2**20):
            continue


async def test_callers_who_stop_reading_are_cut_beside_others_who_do_not_notice(serve):
    padded = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],"obfuscation":"%s"}\n\n' % (b"x" * 50_000)
    async with serve(write_timeout=1) as service:
        journal = service.openai.journal
        service.openai.script = Script(tokens=20, hold_at=5)
        good = [asyncio.create_task(_read(service, stream=True)) for _ in range(5)]
        await journal.until(lambda: sum(record.events >= 5 for record in journal) == 5)
        service.openai.script = Script(raw=padded * 120, piece=len(padded))

        deaf = [await deaf_caller(service, stream=True, client_id="deaf") for _ in range(40)]
        await journal.until(lambda: len(journal) == 45)
        service.openai.release()
        bodies = await asyncio.gather(*good)
        await journal.until(lambda: sum(record.aborted for record in journal) == 40, seconds=30)

        assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
        receipts = await service.receipts("deaf")
        assert [receipt["outcome"] for receipt in receipts] == ["caller_left"] * 40
        assert all(receipt["tokens"] > receipt["prompt_tokens"] > 0 for receipt in receipts)
        assert (await service.info("deaf"))["quota_held"] == 0
        await check_nothing_is_left(service, used=sum(record.spent for record in journal[:5]))
        for sock in deaf:
            sock.close()


# --- the upstream breaks


@pytest.mark.parametrize("cut", CUTS)
async def test_a_cut_stream_ends_with_an_error_and_without_done(service: Service, cut: Cut):
    service.openai.script = Script(tokens=20, cut=cut, cut_at=None if cut == "after_finish" else 9)

    async with service.ask(stream=True) as response:
        events = sse_data(await response.read())

    assert response.status == 200
    assert json.loads(events[-1])["error"]["code"] == "upstream_error"
    assert b"[DONE]" not in events
    [record] = service.openai.journal
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "upstream_error")
    assert 0 <= record.spent - receipt["tokens"] <= 1
    await check_nothing_is_left(service, used=receipt["tokens"])


@pytest.mark.parametrize("cut", ["close", "rst"])
async def test_what_came_before_a_cut_is_shown_and_charged_however_late_it_is_read(service: Service, cut: Cut):
    """GPTDock is busy while fifty tokens come and the connection breaks: aiohttp tells of the break first."""
    service.openai.script = Script(tokens=60, hold_at=1, cut=cut, cut_at=52)
    reading = Stream.read

    async def late(stream: Stream) -> list[Event]:
        async with asyncio.timeout(5):
            while not stream._first and stream._content.exception() is None:  # noqa: ASYNC110
                await asyncio.sleep(0)
        return await reading(stream)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stream, "read", late)
        async with service.ask(stream=True) as response:
            service.openai.release()
            events = sse_data(await response.read())

    assert len(events) == 52 + 1
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_an_error_after_the_first_chunk_is_counted(service: Service):
    service.openai.script = Script(error_at=1, hold_at=1)
    async with service.ask(stream=True) as response:
        service.openai.release()
        await response.read()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["prompt_tokens"]) == ("counted", service.openai.journal[0].prompt_tokens)
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_a_fault_of_ours_in_the_middle_of_an_answer_cuts_it(service: Service, monkeypatch: pytest.MonkeyPatch):
    service.openai.script = Script(hold_at=2)
    async with service.ask(stream=True) as response:
        await service.openai.journal.sent(2)
        monkeypatch.setattr(Meter, "read", lambda meter, event: 1 / 0)
        service.openai.release()

        with pytest.raises(aiohttp.ClientPayloadError):
            async with asyncio.timeout(5):
                await response.read()

    monkeypatch.undo()
    [receipt] = await service.receipts()
    assert receipt["outcome"] == "internal_error"
    await check_nothing_is_left(service, used=receipt["tokens"])


@pytest.mark.parametrize("cut", ["close", "rst", "close_delimited"])
async def test_a_cut_whole_answer_is_an_error_and_is_charged(service: Service, cut: Cut):
    service.openai.script = Script(tokens=20, cut=cut)

    async with service.ask() as response:
        assert (response.status, response.headers["x-should-retry"]) == (502, "false")

    [receipt] = await service.receipts()
    assert receipt["source"] == "counted"
    assert receipt["tokens"] >= receipt["prompt_tokens"] == service.openai.journal[0].prompt_tokens
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_a_stream_that_is_shorter_than_its_length_ends_with_an_error(serve):
    async def stop_short(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100000\r\n\r\n")
        writer.write(RECORDED.removesuffix(b"data: [DONE]\n\n"))
        await writer.drain()
        writer.close()

    async with raw_upstream(stop_short) as url, serve(openai_base_url=url, openai_model="gpt-3.5-turbo") as service:
        async with service.ask(stream=True) as response:
            events = sse_data(await response.read())

        assert json.loads(events[-1])["error"]["code"] == "upstream_error"
        [receipt] = await service.receipts()
        assert (receipt["completion_tokens"], receipt["source"]) == (51, "counted")
        info = await service.info()
        assert (info["quota_used"], info["quota_held"]) == (receipt["tokens"], 0)


@pytest.mark.parametrize("comments_every", [None, 0.02])
async def test_a_stalled_stream_ends_with_an_error_also_if_comments_drip(serve, comments_every: float | None):
    async with serve(event_timeout=0.3) as service:
        service.openai.script = Script(stall_at=4, comments_every=comments_every)

        async with service.ask(stream=True) as response:
            events = sse_data(await response.read())

        assert json.loads(events[-1])["error"]["code"] == "upstream_timeout"
        assert not any(event.startswith(b":") for event in events)
        await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_a_whole_answer_has_the_request_s_deadline_only(serve):
    async with serve(request_timeout=0.5, event_timeout=0.1, first_event_timeout=0.1) as service:
        service.openai.script = Script(head_seconds=0.3)
        async with service.ask() as response:
            assert response.status == 200

        service.openai.script = Script(stall_at=BEFORE_HEAD)
        async with service.ask() as response:
            assert response.status == 504


async def test_an_error_instead_of_the_first_event_has_a_status_and_costs_nothing(service: Service):
    service.openai.script = Script(error_at=0, error={"message": "secret words", "code": "rate_limit_exceeded"})

    async with service.ask(stream=True) as response:
        body = await response.text()

    assert response.status == 429
    assert "x-should-retry" not in response.headers
    assert "secret words" not in body
    await check_nothing_is_left(service, used=0)


async def test_an_error_in_the_stream_is_told_in_our_words_and_counted(service: Service):
    service.openai.script = Script(error_at=5, error={"message": "secret words", "code": "server_error"})

    async with service.ask(stream=True) as response:
        body = await response.read()

    assert json.loads(sse_data(body)[-1])["error"]["code"] == "upstream_error"
    assert b"secret words" not in body
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


@pytest.mark.parametrize("after", [b"data: [DONE]\n\n", TEXT + b"data: [DONE]\n\n"])
async def test_nothing_that_comes_with_an_error_and_after_it_is_shown(service: Service, after: bytes):
    service.openai.script = Script(raw=TEXT + b'data: {"error":{"message":"boom"}}\n\n' + after, tokens=0)

    async with service.ask(stream=True) as response:
        first, error = sse_data(await response.read())

    assert b"data: " + first + b"\n\n" == TEXT
    assert json.loads(error)["error"]["code"] == "upstream_error"
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "upstream_error")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "usage", [False, None, {"total_tokens": -1}, {"total_tokens": "9"}, {"total_tokens": True}, {}, "many", 7]
)
async def test_what_the_upstream_does_not_report_well_is_counted(service: Service, usage: Any, stream: bool):
    service.openai.script = Script(tokens=20, usage=usage)

    body = await _read(service, stream=stream)

    assert body
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "complete")
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("total", [0, 1, 100_000])
async def test_what_the_upstream_reports_is_charged_even_nothing_or_more_than_was_held(
    service: Service, total: int, stream: bool
):
    service.openai.script = Script(usage={"total_tokens": total, "prompt_tokens": 0, "completion_tokens": total})

    await _read(service, stream=stream)

    await check_nothing_is_left(service, used=total)


@pytest.mark.parametrize("line_ending", ["\n", "\r", "\r\n"])
async def test_any_line_ending_and_any_split_gives_the_same_events(service: Service, line_ending: str):
    raw = RECORDED.replace(b"\n", line_ending.encode())
    service.openai.script = Script(raw=raw, piece=1)

    async with service.ask(stream=True) as response:
        body = await response.read()

    events = [event.data for event in EventSplitter().feed(body) if event.data is not None]
    assert events == sse_data(RECORDED)


async def test_events_that_are_no_text_are_passed_on_as_they_are(service: Service):
    chunks = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]},
        {"choices": [{"index": 0, "delta": {"refusal": "no"}}], "novelty": [1, {"a": None}]},
        {"choices": [], "prompt_filter_results": []},
    ]
    shown = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    service.openai.script = Script(raw=shown + USAGE_OF_5 + b"data: [DONE]\n\n")

    async with service.ask(stream=True) as response:
        assert await response.read() == shown + b"data: [DONE]\n\n"

    await check_nothing_is_left(service, used=5)


@pytest.mark.parametrize("piece", [1, 2, 3, 1000])
async def test_odd_bytes_come_out_as_they_went_in_wherever_they_are_cut(service: Service, piece: int):
    delta = '{"choices":[{"index":0,"delta":{"content":"%s"}}]}'
    shown = (
        f"\ufeffdata: {delta % 'é🦆'}\n\n"
        f": a comment\ndata:{delta % chr(0x2028)}\r\n\r\n"
        f"event: x\nid: 7\ndata: {delta.replace(',', ',' + chr(10) + 'data: ') % chr(0x85)}\n\n"
    ).encode()
    service.openai.script = Script(raw=shown + USAGE_OF_5 + b"data: [DONE]\n\n", piece=piece)

    async with service.ask(stream=True) as response:
        assert await response.read() == shown + b"data: [DONE]\n\n"

    await check_nothing_is_left(service, used=5)


async def test_a_line_without_end_is_cut_off(service: Service):
    service.openai.script = Script(raw=RECORDED.removesuffix(b"data: [DONE]\n\n") + b"data: " + b"x" * (5 * 2**20))

    async with service.ask(stream=True) as response:
        events = sse_data(await response.read())

    assert json.loads(events[-1])["error"]["code"] == "upstream_error"


async def test_a_line_of_two_megabytes_is_passed_on(service: Service):
    text = {"choices": [{"index": 0, "delta": {"content": "long " * 400_000}}]}
    raw = b"data: " + json.dumps(text).encode() + b"\n\ndata: [DONE]\n\n"
    service.openai.script = Script(raw=raw)

    async with service.ask(stream=True) as response:
        assert await response.read() == raw


# --- many at once


async def test_a_hundred_streams_at_once_are_all_whole_and_charged(service: Service):
    service.openai.script = Script(tokens=30, hold_at=3)

    asking = [asyncio.create_task(_read(service, stream=True, client_id=f"c{i % 7}")) for i in range(100)]
    await service.openai.journal.until(lambda: sum(record.events >= 3 for record in service.openai.journal) == 100)
    service.openai.release()
    bodies = await asyncio.gather(*asking)

    assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
    used = [(await service.info(f"c{i}"))["quota_used"] for i in range(7)]
    assert sum(used) == sum(record.spent for record in service.openai.journal)


async def test_a_short_quota_gives_a_shorter_answer(serve):
    async with serve(default_token_quota=120) as service:
        service.openai.script = Script(tokens=100)
        async with service.ask() as response:
            answer = await response.json()

        [record] = service.openai.journal
        assert answer["choices"][0]["finish_reason"] == "length"
        assert record.request["max_completion_tokens"] == 120 - record.prompt_tokens - 8
        info = await service.info()
        assert info["quota_used"] == record.spent <= 120


async def _read(service: Service, **fields: Any) -> bytes:
    with suppress(aiohttp.ClientError):
        async with service.ask(**fields) as response:
            return await response.read()
    return b""
