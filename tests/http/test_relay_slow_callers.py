"""Callers who do not read, and answers whose end is late."""

import asyncio
import socket
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from gptdock.dev.script import Script
from gptdock.http.caller import Caller
from gptdock.upstream import stream
from tests.harness.answers import RECORDED, TEXT, USAGE_OF_5, read_answer
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
from tests.harness.service import sse_data

pytestmark = pytest.mark.usefixtures("one_flow_on_each_loop")
ON_EACH_LOOP = True


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
    raw = TEXT.replace(b"}]}", b'}],"obfuscation":"%b"}' % (b"y" * 3700)) * 50 + USAGE_OF_5 + b"data: [DONE]\n\n"
    async with serve(request_timeout=0.5, write_timeout=0.5) as service:
        service.openai.script = Script(raw=raw)
        with await deaf_caller(service, stream=True):
            await service.openai.journal.ended()

            [receipt] = await service.receipts()
        assert (receipt["tokens"], receipt["outcome"]) == (5, "upstream_timeout")


async def test_no_error_follows_a_done_that_is_on_its_way(serve, monkeypatch: pytest.MonkeyPatch):
    write_now, catch_up, done = Caller.write_now, Caller.catch_up, asyncio.Event()

    def write(caller: Caller, data: bytes) -> bool:
        goes_on = write_now(caller, data)
        if b"[DONE]" in data:
            done.set()
        return goes_on

    async def stuck(caller: Caller) -> None:
        await catch_up(caller)
        if done.is_set():
            await asyncio.Event().wait()

    monkeypatch.setattr(Caller, "write_now", write)
    monkeypatch.setattr(Caller, "catch_up", stuck)
    async with serve(request_timeout=1) as service, service.ask(stream=True) as response:
        body = bytearray()
        with suppress(aiohttp.ClientError):
            async for piece in response.content.iter_any():
                body += piece

        [receipt] = await service.receipts()
    assert sse_data(bytes(body))[-1] == b"[DONE]"
    assert (receipt["source"], receipt["outcome"]) == ("upstream", "upstream_timeout")


async def test_a_deadline_after_the_end_of_an_answer_changes_nothing(serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "REST_SECONDS", PATIENCE_SECONDS)

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
        good = [asyncio.create_task(read_answer(service, stream=True)) for _ in range(5)]
        await journal.until(lambda: sum(record.events >= 5 for record in journal) == 5)
        service.openai.script = Script(raw=padded * 120, piece=len(padded))

        deaf = [await deaf_caller(service, stream=True, client_id="deaf") for _ in range(40)]
        await journal.until(lambda: len(journal) == 45)
        service.openai.release()
        bodies = await asyncio.gather(*good)
        receipts: list[dict[str, Any]] = []
        async with asyncio.timeout(30):
            while len(receipts) < 40:  # the kernel may take all of an answer from the upstream: nothing else tells
                receipts = await service.receipts("deaf")

        assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
        assert [receipt["outcome"] for receipt in receipts] == ["caller_left"] * 40
        assert all(receipt["tokens"] > receipt["prompt_tokens"] > 0 for receipt in receipts)
        assert (await service.info("deaf"))["quota_held"] == 0
        await check_nothing_is_left(service, used=sum(record.spent for record in journal[:5]))
        for sock in deaf:
            sock.close()


async def test_a_slow_caller_is_told_of_a_cut_while_the_end_of_its_answer_is_unread(serve, monkeypatch):
    """[DONE] arrived, but waits behind the caller, who has not been sent it: it may still be told."""
    behind, told = asyncio.Event(), asyncio.Event()
    end, catch_up = Caller.end, Caller.catch_up

    async def ended(caller: Caller, data: bytes = b"") -> None:
        told.set()
        await end(caller, data)

    async def catching_up(caller: Caller) -> None:
        if caller._writer is not None and caller.is_behind:
            behind.set()
        await catch_up(caller)

    async def ends_once_the_caller_is_behind(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while not behind.is_set():  # little by little, so that GPTDock keeps nothing unread before
            writer.write(TEXT.replace(b"}]}", b'}],"obfuscation":"%b"}' % (b"y" * 3000)))
            await asyncio.sleep(0)
        writer.write(USAGE_OF_5 + b"data: [DONE]\n\n")
        await reader.read()

    monkeypatch.setattr(Caller, "end", ended)
    monkeypatch.setattr(Caller, "catch_up", catching_up)
    async with (
        raw_upstream(ends_once_the_caller_is_behind) as url,
        serve(openai_base_url=url, request_timeout=0.5) as service,
    ):
        with await deaf_caller(service, stream=True) as slow:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await told.wait()
            body = await _read_until(slow, b"\r\n0\r\n\r\n")
        [receipt] = await service.receipts()
    assert b'"code":"upstream_timeout"' in body
    assert b"[DONE]" not in body
    assert receipt["outcome"] == "upstream_timeout"


async def _read_until(sock: socket.socket, end: bytes) -> bytes:
    body = bytearray()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not body.endswith(end):
            body += await asyncio.get_running_loop().sock_recv(sock, 2**20)
    return bytes(body)
