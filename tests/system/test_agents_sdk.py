"""OpenAI's Agents SDK works through GPTDock, by the Responses API and by chat completions."""

from typing import Any

import openai
import pytest
from agents import (
    Agent,
    ModelBehaviorError,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)

from gptdock.dev.script import Script
from tests.harness.hostile import check_nothing_is_left
from tests.harness.service import Service
from tests.system.test_foreign_clients import openai_s
from tests.system.test_foreign_clients_responses import CUTS, check_each_is_counted
from tests.system.test_foreign_clients_structured import Plan

set_tracing_disabled(True)  # otherwise it reports each run to OpenAI
both_apis = pytest.mark.parametrize(
    "api", [OpenAIResponsesModel, OpenAIChatCompletionsModel], ids=["responses", "chat"]
)


def get_weather(city: str) -> str:
    return f"sunny in {city}"


def agent(api: Any, client: openai.AsyncOpenAI, **more: Any) -> Agent[None]:
    model = api(model="gpt-4o-mini", openai_client=client)
    return Agent(name="agent", instructions="Be brief.", model=model, **more)


@both_apis
async def test_an_agent_calls_its_tool_and_answers(service: Service, api):
    async with openai_s(service) as client:
        result = await Runner.run(agent(api, client, tools=[function_tool(get_weather)]), "Weather?")

    spent = [record.spent for record in service.openai.journal]
    assert 'begins with "sunny in simulated city"' in result.final_output
    assert len(spent) == 2
    assert result.context_wrapper.usage.total_tokens == sum(spent)
    await check_nothing_is_left(service, used=sum(spent))


@both_apis
async def test_an_agent_streams_a_value_of_its_type(service: Service, api):
    async with openai_s(service) as client:
        result = Runner.run_streamed(agent(api, client, output_type=Plan), "Plan!")
        events = [event async for event in result.stream_events()]

    assert len(events) > service.openai.journal[0].generated
    assert isinstance(result.final_output, Plan)
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


@both_apis
async def test_an_agent_that_is_left_pays_for_what_came(service: Service, api):
    service.openai.script = Script(tokens=100, stall_at=30)
    async with openai_s(service) as client:
        result = Runner.run_streamed(agent(api, client), "Who are you?")
        async for _ in result.stream_events():
            await service.openai.journal.sent(30)
            result.cancel()
        [record] = await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
    assert receipt["tokens"] >= record.spent > 0


@both_apis
async def test_an_agent_without_quota_is_refused_once(serve, api):
    async with serve(default_token_quota=5) as service, openai_s(service) as client:
        with pytest.raises(openai.APIStatusError) as raised:
            await Runner.run(agent(api, client), "Who are you?")

        assert (raised.value.status_code, service.openai.requests) == (402, 0)


@both_apis
async def test_an_agent_fails_however_its_answer_is_cut(service: Service, api):
    async with openai_s(service, max_retries=0) as client:
        for script in CUTS:
            service.openai.next(script)
            with pytest.raises(openai.APIError):
                [event async for event in Runner.run_streamed(agent(api, client), "Who are you?").stream_events()]

    await check_each_is_counted(service)


async def test_an_agent_whose_response_failed_fails(service: Service):
    """OpenAI's package raises nothing then."""
    service.openai.next(Script(tokens=20, failed=True), Script(tokens=20, failed=True, error_at=9))
    async with openai_s(service) as client:
        made = agent(OpenAIResponsesModel, client)
        with pytest.raises(ModelBehaviorError, match="failed"):
            await Runner.run(made, "Who are you?")
        with pytest.raises(ModelBehaviorError, match="failed"):
            [event async for event in Runner.run_streamed(made, "Who are you?").stream_events()]

    await check_nothing_is_left(service, used=sum(record.spent for record in service.openai.journal))
