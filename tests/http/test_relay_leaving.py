"""Callers who leave: what they pay, and that the upstream is closed."""

import asyncio

import pytest

from gptdock.accounts import Account
from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.ledger.rates import UNKNOWN
from gptdock.upstream.stream import Stream
from tests.harness.answers import read_answer
from tests.harness.hostile import (
    AUTHORIZED,
    check_nothing_is_left,
    connect,
    question,
    raw_upstream,
    read_request,
    request,
)
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import Service

pytestmark = pytest.mark.usefixtures("one_flow_on_each_loop")
ON_EACH_LOOP = True


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
        assert receipt["completion_tokens"] >= 20 + 0.2 * UNKNOWN


@pytest.mark.parametrize(("model", "thinks"), [("o4-mini", True), ("gpt-4o-mini", False)])
async def test_a_caller_who_leaves_after_the_first_words_pays_for_thought_before_them(serve, model: str, thinks: bool):
    async with serve(openai_model=model) as service:
        service.openai.script = Script(tokens=20, first_event_seconds=0.2, stall_at=4)
        async with service.ask(stream=True) as response:
            await service.openai.journal.sent(4)
            response.close()
        [record] = await service.openai.journal.left()

        [receipt] = await service.receipts()
        thought_tokens = receipt["completion_tokens"] - record.generated
        assert thought_tokens >= 0.2 * UNKNOWN if thinks else thought_tokens <= 0
        await check_nothing_is_left(service, used=receipt["tokens"])


async def test_tokens_thought_before_the_first_words_are_in_the_will(serve):
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
            assert lease.will >= prompt_tokens + 0.2 * UNKNOWN
            service.openai.release()
            await response.read()
        await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_text_that_was_received_and_not_yet_passed_on_is_charged(service: Service):
    """The caller leaves while GPTDock is busy and much has arrived: it was generated, so it is charged."""
    service.openai.script = Script(tokens=50, hold_at=1)
    all_is_here = asyncio.Event()

    async def busy(stream: Stream, take: object, silence: object) -> None:
        while b"[DONE]" not in b"".join(stream._content._buffer):  # noqa: ASYNC110 - aiohttp tells nobody
            await asyncio.sleep(0)
        all_is_here.set()
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stream, "flow", busy)
        async with service.ask(stream=True) as response:
            service.openai.release()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await all_is_here.wait()
            response.close()
        [receipt] = await service.receipts()

    assert receipt["tokens"] == service.openai.journal[0].spent


async def test_a_caller_who_leaves_between_the_last_text_and_the_usage_pays(service: Service):
    service.openai.script = Script(tokens=20, hold_at=22)
    async with service.ask(stream=True) as response:
        while b'"finish_reason":"stop"' not in await response.content.readuntil(b"\n\n"):
            continue
        response.close()

    [record] = await service.openai.journal.left()

    await check_nothing_is_left(service, used=record.spent)


async def test_a_caller_who_leaves_right_after_done_has_a_complete_answer(service: Service):
    async with service.ask(stream=True) as response:
        while b"[DONE]" not in await response.content.readuntil(b"\n\n"):
            continue
        response.close()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("upstream", "complete")
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_a_caller_who_leaves_within_a_whole_answer_pays_for_what_may_have_come(service: Service):
    service.openai.script = Script(tokens=20, stall_at=9)
    asking = asyncio.create_task(read_answer(service, stream=False))
    await service.openai.journal.sent(9)

    asking.cancel()
    [record] = await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
    assert receipt["tokens"] > receipt["prompt_tokens"] == record.prompt_tokens
    await check_nothing_is_left(service, used=receipt["tokens"])


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_who_leaves_before_the_head_pays_prompt_and_what_may_have_come(service: Service, stream: bool):
    service.openai.script = Script(stall_at=BEFORE_HEAD)
    asking = asyncio.create_task(read_answer(service, stream=stream))
    record = await service.openai.journal.arrived()

    asking.cancel()
    await service.openai.journal.ended()

    [receipt] = await service.receipts()
    assert receipt["prompt_tokens"] == record.prompt_tokens
    assert receipt["outcome"] == "caller_left"
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_a_caller_who_closes_its_side_after_the_request_counts_as_gone(service: Service):
    service.openai.script = Script(stall_at=3)
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED, question(stream=True)))
        await service.openai.journal.sent(3)
        connection.writer.write_eof()
        await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert receipt["outcome"] == "caller_left"
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_a_caller_who_leaves_after_a_usage_without_text_pays_the_prompt(serve):
    async def silent_after_usage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        writer.write(b'data: {"choices":[{"delta":{"role":"assistant"}}],"usage":{"total_tokens":0}}\n\n')
        await reader.read()

    async with raw_upstream(silent_after_usage) as url, serve(openai_base_url=url) as service:
        async with service.ask(stream=True) as response:
            await response.content.readuntil(b"\n\n")
            response.close()

        [receipt] = await service.receipts()
        assert (receipt["source"], receipt["outcome"], receipt["completion_tokens"]) == ("counted", "caller_left", 0)
