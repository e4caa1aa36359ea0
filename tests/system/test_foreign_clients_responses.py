"""Clients written for OpenAI use its Responses API through GPTDock, which charges each way that an answer can end."""

import asyncio
from typing import Any

import openai
import pytest
from openai import OpenAI, pydantic_function_tool
from openai.types.responses import ResponseFunctionToolCall

from gptdock.dev.script import Script
from tests.harness.hostile import check_nothing_is_left
from tests.harness.service import KEY, Service
from tests.system.test_foreign_clients import WHO, openai_s
from tests.system.test_foreign_clients_structured import GetWeather, Plan

ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Who are you?", "user": "u7"}
PASSED_ON = {"type", "call_id", "name", "arguments"}
TOOL: Any = {"type": "function"} | pydantic_function_tool(GetWeather, name="get_weather")["function"]


async def test_openai_s_client_reads_a_whole_response(service: Service):
    async with openai_s(service) as client:
        response = await client.responses.create(**ASKED, instructions="Be brief.")

    assert (response.status, response.object) == ("completed", "response")
    assert response.output_text
    assert response.usage
    await check_nothing_is_left(service, used=response.usage.total_tokens)


async def test_openai_s_client_reads_the_events_of_a_response(service: Service):
    async with openai_s(service) as client, client.responses.stream(**ASKED) as stream:
        events = [event async for event in stream]
        response = await stream.get_final_response()

    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) == service.openai.journal[0].generated
    assert "".join(deltas) == response.output_text
    assert response.usage
    await check_nothing_is_left(service, used=response.usage.total_tokens)


async def test_openai_s_client_parses_a_response_by_a_schema(service: Service):
    async with openai_s(service) as client:
        whole = await client.responses.parse(**ASKED, text_format=Plan)
        async with client.responses.stream(**ASKED, text_format=Plan) as stream:
            streamed = await stream.get_final_response()

    assert isinstance(whole.output_parsed, Plan)
    assert whole.output_parsed == streamed.output_parsed
    await check_nothing_is_left(service, used=sum(record.spent for record in service.openai.journal))


async def test_openai_s_client_without_async_reads_responses(service: Service):
    def ask() -> tuple[str, str]:
        with OpenAI(base_url=f"{service.url}/v1", api_key=KEY, default_headers=WHO) as client:
            whole = client.responses.create(**ASKED).output_text
            with client.responses.stream(**ASKED) as stream:
                return whole, stream.get_final_response().output_text

    whole, streamed = await asyncio.to_thread(ask)

    assert whole == streamed
    await check_nothing_is_left(service, used=sum(record.spent for record in service.openai.journal))


async def test_openai_s_client_calls_a_tool_and_tells_its_output(service: Service):
    async with openai_s(service) as client:
        called = await client.responses.parse(**ASKED, tools=[TOOL])
        [call] = called.output
        assert isinstance(call, ResponseFunctionToolCall)
        assert GetWeather.model_validate_json(call.arguments)
        told = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        turns: Any = [{"role": "user", "content": "Weather?"}, call.model_dump(include=PASSED_ON), told]
        answered = await client.responses.create(**ASKED | {"input": turns}, tools=[TOOL])

    assert 'begins with "sunny"' in answered.output_text
    await check_nothing_is_left(service, used=sum(record.spent for record in service.openai.journal))


@pytest.mark.parametrize("tools", [[], [TOOL]], ids=["text", "call"])
async def test_openai_s_client_that_leaves_a_response_pays_for_what_came(service: Service, tools):
    service.openai.script = Script(tokens=100, stall_at=30)
    async with openai_s(service) as client:
        async with client.responses.stream(**ASKED, tools=tools) as stream:
            await anext(aiter(stream))
            await service.openai.journal.sent(30)
        [record] = await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
    assert 25 < record.generated < 100
    assert receipt["tokens"] >= record.spent


async def test_openai_s_client_has_no_response_without_quota(serve):
    async with serve(default_token_quota=5) as service, openai_s(service) as client:
        for streamed in (False, True):
            with pytest.raises(openai.APIStatusError) as raised:
                await client.responses.create(**ASKED, stream=streamed)
            assert (raised.value.status_code, raised.value.code) == (402, "insufficient_quota")
        assert service.openai.requests == 0


CUTS = [Script(tokens=20, cut=cut, cut_at=9) for cut in ("close", "rst", "mid_chunk", "clean_no_done")]
CUTS += [Script(tokens=20, cut="after_finish"), Script(tokens=20, error_at=9)]


async def test_openai_s_client_raises_whenever_a_response_is_cut(service: Service):
    """None of them may look like a short answer; each is charged by count."""
    async with openai_s(service, max_retries=0) as client:
        for script in CUTS:
            service.openai.next(script)
            with pytest.raises(openai.APIError):
                [event async for event in await client.responses.create(**ASKED, stream=True)]

        await check_each_is_counted(service)


async def check_each_is_counted(service: Service) -> None:
    """There is a receipt for each record of the upstream, for no less than was generated."""
    spent = [record.spent for record in service.openai.journal]
    receipts = await service.receipts()
    charged = [receipt["tokens"] for receipt in receipts if receipt["source"] == "counted"]
    assert all(tokens >= least for tokens, least in zip(sorted(charged), sorted(spent), strict=True))
    await check_nothing_is_left(service, used=sum(charged))


@pytest.mark.parametrize(("usage", "source"), [(True, "upstream"), (False, "counted")])
async def test_a_response_that_fails_is_charged(service: Service, usage: bool, source: str):
    service.openai.script = Script(tokens=20, error_at=9, failed=True, usage=usage)
    async with openai_s(service) as client:
        events = [event async for event in await client.responses.create(**ASKED, stream=True)]

    [record], [receipt] = service.openai.journal, await service.receipts()
    assert events[-1].type == "response.failed"
    assert receipt["source"] == source
    assert receipt["tokens"] >= record.spent
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_a_response_that_is_shortened_says_so(service: Service):
    async with openai_s(service) as client:
        response = await client.responses.create(**ASKED, max_output_tokens=16)

    assert (response.status, response.usage and response.usage.output_tokens) == ("incomplete", 16)
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)
