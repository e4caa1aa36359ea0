"""A drain: what is open ends whole, or is cut in time, and all of it is settled."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from gptdock.accounts import Account
from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.http import server
from tests.harness.hostile import (
    PATIENCE_SECONDS,
    Fault,
    deaf_caller,
    fault_of,
    final_book,
    start_drain,
)
from tests.harness.service import make_settings, read_receipts, running, serve_tables, sse_data

ON_EACH_LOOP = True

ACCOUNT = Account("c1", "p1")


async def test_a_short_stream_ends_whole_and_is_charged_exactly(serve):
    async with serve(drain_seconds=60) as service:
        service.openai.script = Script(hold_at=3)
        async with service.ask(stream=True) as response:
            await service.openai.journal.sent(3)
            await start_drain(service)
            service.openai.release()

            events = sse_data(await response.read())

        assert events[-1] == b"[DONE]"
        await _check_settled(service, "upstream", service.openai.journal[0].spent)


async def test_a_short_whole_answer_is_given_and_charged_exactly(serve):
    async with serve(drain_seconds=60) as service:
        service.openai.script = Script(hold_at=3)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(_read(service))
            await service.openai.journal.sent(3)
            await start_drain(service)
            service.openai.release()

        status, _ = asked.result()
        assert status == 200
        await _check_settled(service, "upstream", service.openai.journal[0].spent)


async def test_a_long_stream_is_cut_with_an_error_event_and_counted(serve):
    async with serve(drain_seconds=0.1) as service:
        service.openai.script = Script(stall_at=5)
        async with service.ask(stream=True) as response:
            await service.openai.journal.sent(5)
            service.stop.set()

            events = sse_data(await response.read())

        assert b'"code":"draining"' in events[-1]
        assert response.headers["X-Request-Id"].encode() in events[-1]
        assert b"[DONE]" not in events
        await service.openai.journal.left()
        await _check_settled(service, "counted", service.openai.journal[0].spent)


async def test_a_stream_without_an_event_yet_is_cut_with_a_proper_status(serve):
    await _check_cut(serve, stream=True, script=Script(stall_at=0))


@pytest.mark.parametrize("stall_at", [BEFORE_HEAD, 3])
async def test_a_long_whole_answer_is_cut_with_a_proper_status_and_counted(serve, stall_at):
    await _check_cut(serve, stream=False, script=Script(stall_at=stall_at))


async def _check_cut(serve, stream, script):
    async with serve(drain_seconds=0.1) as service:
        service.openai.script = script
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(_refused(service, stream))
            await service.openai.journal.arrived()
            service.stop.set()

        assert asked.result() == (Fault(503, "draining"), "false")
        await service.openai.journal.left()
        [record] = service.openai.journal
        book = await final_book(service)
        assert (book.held, book.used >= record.prompt_tokens) == (0, True)
        assert book.left == book.max - book.used


async def test_a_retry_that_waits_is_cut_too(serve):
    async with serve(drain_seconds=0.1) as service:
        service.openai.script = Script(status=503, headers={"Retry-After": "5"})
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(_refused(service, stream=False))
            await service.openai.journal.ended()
            service.stop.set()

        assert asked.result() == (Fault(503, "draining"), None)
        book = await final_book(service)
        assert (book.held, book.used) == (0, 0)


async def test_callers_who_do_not_read_cannot_stop_the_drain(serve, monkeypatch):
    monkeypatch.setattr(server, "CUT_SECONDS", 0.2)
    event = b'data: {"choices":[{"delta":{"content":"a"}}],"obfuscation":"%s"}\n\n' % (b"x" * 10_000)
    async with serve(drain_seconds=0.5, write_timeout=600) as service:
        service.openai.script = Script(raw=event * 2000, piece=len(event))
        deaf = await deaf_caller(service, stream=True)
        await service.openai.journal.sent(200)

        service.stop.set()

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await service.served is True
        deaf.close()
        await _check_settled(service, "counted")


async def test_a_caller_who_reads_slowly_is_told_that_its_stream_is_cut(serve):
    event = b'data: {"choices":[{"delta":{"content":"a"}}],"obfuscation":"%s"}\n\n' % (b"x" * 10_000)
    async with serve(drain_seconds=0.5, write_timeout=600) as service:
        service.openai.script = Script(raw=event * 700, piece=len(event), stall_at=700)
        slow = await deaf_caller(service, stream=True)
        await service.openai.journal.sent(200)
        service.stop.set()
        await service.openai.journal.ended()

        answer = await _read_all(slow)

        assert b'"code":"draining"' in answer[-1000:]


async def _read_all(sock):
    answer = bytearray()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while data := await asyncio.get_running_loop().sock_recv(sock, 2**20):
            answer += data
    sock.close()
    return bytes(answer)


async def _drain_beside_a_whole_answer_that_is_not_read(serve, **settings: float) -> None:
    answer = b'{"choices": [], "usage": {"total_tokens": 7}, "rest": "%s"}' % (b"x" * 10_000_000)
    async with serve(**settings) as service:
        service.openai.script = Script(raw=answer)
        deaf = await deaf_caller(service, stream=False)
        await service.openai.journal.ended()

        service.stop.set()

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await service.served is True
        deaf.close()
        await _check_settled(service, "upstream", 7)


async def test_a_caller_who_does_not_read_a_whole_answer_is_cut_at_the_write_timeout(serve):
    await _drain_beside_a_whole_answer_that_is_not_read(serve, drain_seconds=60, write_timeout=0.2)


async def test_a_whole_answer_that_is_not_read_is_cancelled_and_settled(serve, monkeypatch):
    monkeypatch.setattr(server, "CUT_SECONDS", 0.2)
    await _drain_beside_a_whole_answer_that_is_not_read(serve, drain_seconds=0.2, write_timeout=600)


async def test_a_caller_who_leaves_during_the_drain_is_charged_by_count(serve):
    async with serve(drain_seconds=60) as service:
        service.openai.script = Script(stall_at=5)
        async with service.ask(stream=True) as response:
            await service.openai.journal.sent(5)
            await start_drain(service)
            response.close()

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await service.served is True
        await service.openai.journal.left()
        await _check_settled(service, "counted", service.openai.journal[0].spent)


async def test_a_drain_with_nothing_open_ends_at_once(serve):
    async with serve(drain_seconds=60) as service:
        async with service.ask() as response:
            await response.read()

        service.stop.set()

        async with asyncio.timeout(30):  # half of what the drain may take
            assert await service.served is True
        await _check_settled(service, "upstream", service.openai.journal[0].spent)


async def test_a_drain_tells_that_something_could_not_be_settled(openai, monkeypatch):
    monkeypatch.setattr(server, "SETTLE_SECONDS", 0.3)

    with pytest.raises(AssertionError, match="not everything was settled"):
        await _lose_dynamodb_within_a_stream(openai)


async def _lose_dynamodb_within_a_stream(openai):
    async with AsyncExitStack() as dynamodb:
        url = await dynamodb.enter_async_context(serve_tables())
        async with running(make_settings(url, openai.url), openai) as service:
            openai.script = Script(hold_at=3)
            async with service.ask(stream=True) as response:
                await openai.journal.sent(3)
                await dynamodb.aclose()
                openai.release()
                assert sse_data(await response.read())[-1] == b"[DONE]"


async def _read(service, **fields):
    async with service.ask(**fields) as response:
        return response.status, await response.read()


async def _refused(service, stream):
    """What was answered, and whether the caller is asked not to repeat it."""
    async with service.ask(stream=stream) as response:
        return await fault_of(response), response.headers.get("x-should-retry")


async def _check_settled(service, source, used=None):
    """One receipt, of `used` tokens, which the book agrees with; nothing is held."""
    book = await final_book(service)
    [receipt] = await read_receipts(service.store, ACCOUNT)
    used = receipt["tokens"] if used is None else used
    assert (receipt["source"], receipt["tokens"]) == (source, used)
    assert used > 0
    assert (book.held, book.used, book.left) == (0, used, book.max - used)
