"""Attempts that break off without a status: what they cost, whether a later one answers or not."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gptdock.accounts import Account
from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.ledger.rates import UNKNOWN, UNKNOWN_AHEAD
from tests.harness.answers import read_answer
from tests.harness.hostile import check_nothing_is_left
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import QUESTION, Service
from tests.harness.upstream_faults import both_ways

pytestmark = pytest.mark.usefixtures("quick", "each_flow")
LOST = Script(hold_at=BEFORE_HEAD, cut="before_head")
MORE_THAN_PROMPT = 8 + 1000  # of a hold
MODEL = "text-embedding-3-small"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("ask", QUESTION),
    ("chat/completions", CHAT),
    ("responses", {"model": "gpt-4o-mini", "input": "Hi"}),
]
BODIES += [(path, body | {"stream": True}) for path, body in BODIES]
EMBEDDINGS = ("embeddings", {"model": MODEL, "input": "Hi " * 50})
WHO = {"X-Client-Id": "c1", "X-Product-Id": "p1", "X-User-Id": "u7"}


async def _post(service: Service, path: str, body: dict[str, Any]) -> int:
    headers = {} if path == "ask" else WHO
    async with service.session.post(f"{service.url}/v1/{path}", json=body, headers=headers) as response:
        await response.read()
        return response.status


async def _break_off(service: Service, clock: SimpleNamespace, seconds: float, number: int = 1) -> None:
    """Let the attempt of that number break off so many seconds after it was sent."""
    await service.openai.journal.arrived(number)
    clock.now += seconds
    service.openai.release()


@both_ways
@pytest.mark.parametrize(("seconds", "is_charged"), [(1, False), (1.5, True)])
async def test_an_attempt_lost_after_a_second_is_charged_besides(
    service: Service, upstream_clock: SimpleNamespace, stream: bool, seconds: float, is_charged: bool
):
    service.openai.next(LOST)
    asking = asyncio.create_task(read_answer(service, stream=stream))
    await _break_off(service, upstream_clock, seconds)
    await asking

    [receipt] = await service.receipts()
    answered = service.openai.journal[-1]
    lost_tokens = answered.prompt_tokens + seconds * UNKNOWN if is_charged else 0
    assert receipt["source"] == ("counted" if is_charged else "upstream")
    assert receipt["tokens"] == answered.spent + lost_tokens
    assert receipt["prompt_tokens"] == answered.prompt_tokens * (1 + is_charged)
    assert receipt["prompt_tokens"] + receipt["completion_tokens"] == receipt["tokens"]
    await check_nothing_is_left(service, receipt["tokens"])


async def test_a_lost_attempt_is_charged_on_every_route(serve, upstream_clock: SimpleNamespace):
    """Also where the next attempt is refused. Of embeddings the hold has room for a part of it only."""
    async with serve(openai_embedding_models=MODEL) as service:
        journal = service.openai.journal
        for path, body in [*BODIES, EMBEDDINGS]:
            for refusal in (None, Script(status=400)):
                before = len(journal), len(await service.receipts())
                service.openai.next(LOST, *filter(None, [refusal]))
                asking = asyncio.create_task(_post(service, path, body))
                await _break_off(service, upstream_clock, 1.5, before[0] + 1)
                assert await asking == 200 if refusal is None else await asking in (400, 502)

                answered = 0 if refusal else journal[-1].spent
                lost_tokens = min(journal[-1].prompt_tokens + int(1.5 * UNKNOWN), MORE_THAN_PROMPT)
                if path == "embeddings":
                    lost_tokens = 8 if answered else journal[-1].prompt_tokens + 8
                [receipt] = (await service.receipts_as_asked())[before[1] :]
                assert receipt["source"] == "counted", path
                assert 0 <= receipt["tokens"] - answered - lost_tokens <= 4, path  # the most that a prompt may cost


@both_ways
@pytest.mark.parametrize(("seconds", "charged"), [((1.5, 0.5, 2), 2), ((0.5, 0.9, 1), 0)])
async def test_if_all_attempts_break_off_those_later_than_a_second_are_charged(
    service: Service, upstream_clock: SimpleNamespace, stream: bool, seconds: tuple[float, ...], charged: int
):
    service.openai.script = LOST
    asking = asyncio.create_task(read_answer(service, stream=stream))
    for number, each in enumerate(seconds, 1):
        await _break_off(service, upstream_clock, each, number)
    assert b"upstream_error" in await asking

    prompt_tokens = service.openai.journal[0].prompt_tokens
    tokens = charged * prompt_tokens + int((1.5 + 2) * UNKNOWN) if charged else 0
    assert [receipt["tokens"] for receipt in await service.receipts()] == [tokens] * bool(charged)
    await check_nothing_is_left(service, tokens)


async def test_a_lost_attempt_costs_no_more_than_the_hold(service: Service, upstream_clock: SimpleNamespace):
    service.openai.next(LOST)
    asking = asyncio.create_task(read_answer(service))
    await _break_off(service, upstream_clock, 60)
    await asking

    [receipt] = await service.receipts()
    assert receipt["tokens"] == service.openai.journal[0].prompt_tokens + MORE_THAN_PROMPT


async def test_an_attempt_that_was_answered_by_a_status_is_free(service: Service, upstream_clock: SimpleNamespace):
    service.openai.next(Script(hold_at=BEFORE_HEAD, status=503))
    asking = asyncio.create_task(read_answer(service))
    await _break_off(service, upstream_clock, 60)
    await asking

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["tokens"]) == ("upstream", service.openai.journal[-1].spent)


async def test_an_answer_that_is_cut_after_a_lost_attempt_costs_both(service: Service, upstream_clock: SimpleNamespace):
    service.openai.next(LOST, Script(tokens=20, stall_at=9))
    asking = asyncio.create_task(read_answer(service, stream=True))
    await _break_off(service, upstream_clock, 1.5)
    await service.openai.journal.sent(9)
    asking.cancel()
    [record] = await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert receipt["prompt_tokens"] == 2 * record.prompt_tokens
    assert 0 <= record.generated + 1.5 * UNKNOWN - receipt["completion_tokens"] <= 1  # one may be on its way


async def test_a_lost_attempt_is_in_the_will(serve, upstream_clock: SimpleNamespace):
    async with serve(progress_seconds=0.05) as service:
        service.openai.next(LOST, Script(hold_at=1))
        asking = asyncio.create_task(read_answer(service, stream=True))
        await _break_off(service, upstream_clock, 1.5)
        await service.openai.journal.sent(1)

        tokens = 2 * service.openai.journal[0].prompt_tokens + 1.5 * UNKNOWN + 0.05 * UNKNOWN_AHEAD
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await _will(service) != tokens:
                pass
        service.openai.release()
        await asking


async def _will(service: Service) -> int:
    book = await service.ledger.read(Account("c1", "p1"), service.ledger.period())
    return book.leases[service.ledger.process].will
