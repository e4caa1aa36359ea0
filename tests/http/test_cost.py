"""How the time that an answer takes becomes tokens: what is learned from it, and what is charged if it is cut."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from gptdock.accounts import Account
from gptdock.dev.journal import Record
from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.ledger.book import Lease
from gptdock.ledger.rates import MARGIN, TELLING_SECONDS, UNKNOWN, UNKNOWN_AHEAD
from tests.harness.answers import read_answer
from tests.harness.ledgers import learn
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import Service

ROLE, FIRST_TEXT = 0, 1  # events of a stream
both_kinds = pytest.mark.parametrize("model", ["gpt-4o-mini", "o4-mini"])


async def _answered(service: Service, clock: SimpleNamespace, seconds: float, script: Script, *, stream: bool) -> None:
    """Ask; `seconds` pass where the script waits."""
    service.openai.script = script
    asking = asyncio.create_task(read_answer(service, stream=stream))
    assert script.hold_at is not None
    await service.openai.journal.sent(script.hold_at)
    clock.now += seconds
    service.openai.release()
    await asking
    await service.ledger.settled()


async def _left_after_two_seconds(service: Service, clock: SimpleNamespace) -> Record:
    """Ask for a stream, and leave it two seconds after its first event."""
    async with service.ask(stream=True) as response:
        await response.content.readuntil(b"\n\n")
        clock.now += 2
        response.close()
    [record] = await service.openai.journal.left()
    return record


async def _renewed(service: Service) -> Lease:
    """The lease of the process, once it was renewed with what is known now."""
    numbers: set[int] = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(numbers) < 3:  # of the lease as it is, of one that may be in flight, of one that knows
            book = await service.ledger.read(Account("c1", "p1"), service.ledger.period())
            lease = book.leases[service.ledger.process]
            numbers.add(lease.number)
    return lease


async def test_a_stream_teaches_how_fast_its_text_came(serve, upstream_clock: SimpleNamespace):
    async with serve() as service:
        await _answered(service, upstream_clock, 3, Script(tokens=900, hold_at=450), stream=True)

        assert service.ledger.rate("gpt-4o-mini", stream=True).per_second == 300


@pytest.mark.parametrize(("model", "rate"), [("gpt-4o-mini", 900 / TELLING_SECONDS), ("o4-mini", 300)])
async def test_the_time_before_the_text_counts_if_the_model_may_think_in_it(
    serve, upstream_clock, model: str, rate: float
):
    async with serve(openai_model=model) as service:
        await _answered(service, upstream_clock, 3, Script(tokens=900, hold_at=FIRST_TEXT), stream=True)

        assert service.ledger.rate(model, stream=True).per_second == rate


@both_kinds
async def test_a_whole_answer_teaches_how_fast_it_came(serve, upstream_clock: SimpleNamespace, model: str):
    async with serve(openai_model=model) as service:
        await _answered(service, upstream_clock, 3, Script(tokens=900, hold_at=450), stream=False)

        assert service.ledger.rate(model, stream=False).per_second == 300


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("model", "rates"), [("gpt-4o-mini", (300, 300)), ("o4-mini", (200, 300))])
async def test_an_answer_without_usage_teaches_by_its_text(
    serve, upstream_clock: SimpleNamespace, model: str, rates: tuple[int, int], stream: bool
):
    """But not a whole one of a model that may have thought, unseen, for most of its time."""
    async with serve(openai_model=model) as service:
        await _answered(service, upstream_clock, 3, Script(tokens=900, hold_at=450, usage=False), stream=stream)

        assert service.ledger.rate(model, stream=stream).per_second == rates[stream]


async def test_a_stream_that_is_cut_at_once_teaches_nothing(serve, upstream_clock: SimpleNamespace):
    async with serve() as service:
        service.openai.script = Script(tokens=900, stall_at=800)
        async with service.ask(stream=True) as response:
            await service.openai.journal.sent(800)
            response.close()
        await service.openai.journal.left()
        await service.ledger.settled()

        assert service.ledger.rate("gpt-4o-mini", stream=True).per_second == 200


async def test_the_text_of_a_whole_answer_says_nothing_of_its_rate(serve, upstream_clock: SimpleNamespace):
    async with serve(openai_model="o4-mini") as service:
        await _answered(service, upstream_clock, 1, Script(tokens=400, hold_at=200, usage=False), stream=False)

        [receipt] = await service.receipts()
        assert receipt["completion_tokens"] == 400 + 200


@pytest.mark.parametrize("speed", [20, 400])
async def test_a_caller_who_leaves_a_whole_answer_pays_for_the_time_by_the_model_s_rate(
    serve, upstream_clock, speed: int
):
    async with serve() as service:
        learn(service.ledger, round(speed * MARGIN), "gpt-4o-mini")
        service.openai.script = Script(tokens=900, stall_at=450)
        asking = asyncio.create_task(read_answer(service, stream=False))
        await service.openai.journal.sent(450)
        upstream_clock.now += 2
        asking.cancel()
        await service.openai.journal.left()

        [receipt] = await service.receipts()
        assert receipt["completion_tokens"] == 2 * speed


async def test_time_of_thought_is_charged_by_what_the_text_showed_if_that_is_more(
    serve, upstream_clock: SimpleNamespace
):
    async with serve(openai_model="o4-mini") as service:
        service.openai.script = Script(tokens=900, hold_at=FIRST_TEXT, stall_at=300 + FIRST_TEXT)
        async with service.ask(stream=True) as response:
            await service.openai.journal.sent(FIRST_TEXT)
            upstream_clock.now += 1
            service.openai.release()
            await service.openai.journal.sent(300 + FIRST_TEXT)
            for _ in range(300 + FIRST_TEXT):
                await response.content.readuntil(b"\n\n")
            response.close()
        await service.openai.journal.left()

        [receipt] = await service.receipts()
        assert receipt["completion_tokens"] == 300 + 300 / TELLING_SECONDS


@pytest.mark.parametrize(("model", "seconds"), [("gpt-4o-mini", 0), ("o4-mini", 2)])
async def test_a_stream_without_text_costs_time_only_if_its_model_may_think_in_it(
    serve, upstream_clock, model, seconds
):
    async with serve(openai_model=model) as service:
        service.openai.script = Script(stall_at=FIRST_TEXT)
        record = await _left_after_two_seconds(service, upstream_clock)

        [receipt] = await service.receipts()
        assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
        assert receipt["tokens"] == record.prompt_tokens + seconds * UNKNOWN


@pytest.mark.parametrize(("usage", "charged"), [(1, 2 * UNKNOWN), (900, 900)])
async def test_a_usage_before_thoughts_is_not_what_a_cut_answer_cost(serve, upstream_clock, usage: int, charged: int):
    told = {"prompt_tokens": 9, "completion_tokens": usage, "total_tokens": 9 + usage}
    first = json.dumps({"choices": [{"index": 0, "delta": {"role": "assistant"}}], "usage": told}).encode()
    async with serve(openai_model="o4-mini") as service:
        raw = b"data: %b\n\n" % first
        service.openai.script = Script(raw=raw * 2, piece=len(raw), stall_at=1)
        record = await _left_after_two_seconds(service, upstream_clock)

        [receipt] = await service.receipts()
        assert (receipt["source"], receipt["completion_tokens"]) == ("counted", charged)
        assert receipt["tokens"] == record.prompt_tokens + charged


async def test_a_head_without_an_event_costs_the_prompt_if_the_model_writes_at_once(serve):
    async with serve(first_event_timeout=0.5) as service:
        service.openai.script = Script(stall_at=ROLE)
        async with service.ask(stream=True) as response:
            assert response.status == 504

        [receipt] = await service.receipts()
        assert receipt["tokens"] == service.openai.journal[0].prompt_tokens


@both_kinds
@pytest.mark.parametrize("stream", [True, False])
async def test_time_before_the_head_is_charged_whatever_the_model(serve, upstream_clock, model: str, stream: bool):
    async with serve(openai_model=model) as service:
        service.openai.script = Script(stall_at=BEFORE_HEAD)
        asking = asyncio.create_task(read_answer(service, stream=stream))
        record = await service.openai.journal.arrived()
        upstream_clock.now += 2
        asking.cancel()
        await service.openai.journal.ended()

        [receipt] = await service.receipts()
        assert receipt["tokens"] == record.prompt_tokens + 2 * UNKNOWN


async def test_a_will_of_a_model_that_writes_at_once_has_no_time_without_text(serve, upstream_clock: SimpleNamespace):
    async with serve(progress_seconds=0.05) as service:
        service.openai.script = Script(hold_at=FIRST_TEXT)
        async with service.ask(stream=True) as response:
            await response.content.readuntil(b"\n\n")
            upstream_clock.now += 3
            lease = await _renewed(service)

            assert lease.will == service.openai.journal[0].prompt_tokens + 0.05 * UNKNOWN_AHEAD
            service.openai.release()
            await response.read()


async def test_a_will_allows_for_what_was_seen_of_a_fast_stream(serve, upstream_clock: SimpleNamespace):
    async with serve(progress_seconds=0.05) as service:
        service.openai.script = Script(tokens=900, hold_at=300 + FIRST_TEXT)
        async with service.ask(stream=True) as response:
            for _ in range(300 + FIRST_TEXT):
                await response.content.readuntil(b"\n\n")
            lease = await _renewed(service)

            used = service.openai.journal[0].prompt_tokens + 300
            assert lease.will == used + 0.05 * 2 * 300 / TELLING_SECONDS
            service.openai.release()
            await response.read()


async def test_a_whole_answer_that_tells_neither_text_nor_usage_costs_its_time(service: Service, upstream_clock):
    """As a response that failed may, whatever was generated before it did."""
    service.openai.script = Script(tokens=900, hold_at=450, failed=True, usage=False)
    body, headers = {"model": "gpt-4o-mini", "input": "Who are you?"}, {"X-Client-Id": "c1", "X-Product-Id": "p1"}
    asking = asyncio.ensure_future(service.session.post(f"{service.url}/v1/responses", json=body, headers=headers))
    await service.openai.journal.sent(450)
    upstream_clock.now += 2
    service.openai.release()
    await (await asking).read()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["completion_tokens"]) == ("counted", 2 * UNKNOWN)
