"""What clients written for OpenAI ask for besides text: answers that fit a schema, and calls of tools."""

import asyncio
from typing import Any, Literal

import pytest
from langchain_openai import ChatOpenAI
from openai import LengthFinishReasonError, OpenAI, pydantic_function_tool
from pydantic import BaseModel, SecretStr

from gptdock.dev.script import Script
from tests.harness.hostile import check_nothing_is_left
from tests.harness.service import KEY, Service
from tests.system.test_foreign_clients import ASKED, WHO, openai_s


class Step(BaseModel):
    text: str
    more: "list[Step]"


class Plan(BaseModel):
    """A value with all that strict schemas may have: nested, listed, chosen, optional, of itself."""

    kind: Literal["short", "long"]
    steps: list[Step]
    owner: str | None


class GetWeather(BaseModel):
    city: str
    days: int


TOOL = pydantic_function_tool(GetWeather, name="get_weather")


async def test_openai_s_client_parses_an_answer_by_a_schema(service: Service):
    async with openai_s(service) as client:
        completion = await client.chat.completions.parse(**ASKED, response_format=Plan)

    plan = completion.choices[0].message.parsed
    assert plan is not None
    assert (plan.kind, plan.steps[0].text) == ("short", "simulated text")
    assert completion.usage
    await check_nothing_is_left(service, used=completion.usage.total_tokens)


async def test_openai_s_client_parses_a_stream_by_a_schema(service: Service):
    async with openai_s(service) as client, client.chat.completions.stream(**ASKED, response_format=Plan) as stream:
        events = [event.type async for event in stream]
        completion = await stream.get_final_completion()

    assert events.count("content.delta") == service.openai.journal[0].generated + 1  # the role, with no text
    assert completion.choices[0].message.parsed is not None
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_openai_s_client_without_async_parses_both(service: Service):
    def ask() -> list[Plan | None]:
        with OpenAI(base_url=f"{service.url}/v1", api_key=KEY, default_headers=WHO) as client:
            whole = client.chat.completions.parse(**ASKED, response_format=Plan)
            with client.chat.completions.stream(**ASKED, response_format=Plan) as stream:
                return [each.choices[0].message.parsed for each in (whole, stream.get_final_completion())]

    whole, streamed = await asyncio.to_thread(ask)

    assert isinstance(whole, Plan)
    assert whole == streamed
    await check_nothing_is_left(service, used=sum(record.spent for record in service.openai.journal))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_openai_s_client_calls_a_tool_and_tells_its_result(service: Service, streamed: bool):
    messages: list[Any] = list(ASKED["messages"])
    async with openai_s(service) as client:
        for _ in range(2):
            asked = ASKED | {"messages": messages, "tools": [TOOL]}
            if streamed:
                async with client.chat.completions.stream(**asked) as stream:
                    completion: Any = await stream.get_final_completion()
            else:
                completion = await client.chat.completions.parse(**asked)
            message = completion.choices[0].message
            messages.append(message)
            for call in message.tool_calls or ():
                assert isinstance(call.function.parsed_arguments, GetWeather)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})

    assert [message["role"] if isinstance(message, dict) else message.role for message in messages] == [
        *("user", "assistant", "tool", "assistant")
    ]
    assert 'begins with "sunny"' in message.content
    await check_nothing_is_left(service, used=sum(record.spent for record in service.openai.journal))


async def test_openai_s_client_raises_when_a_value_is_cut_at_its_limit(service: Service):
    async with openai_s(service) as client:
        with pytest.raises(LengthFinishReasonError):
            await client.chat.completions.parse(**ASKED, response_format=Plan, max_completion_tokens=16)

    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_a_client_that_leaves_a_call_of_a_tool_pays_for_its_arguments(service: Service):
    service.openai.script = Script(tokens=100, stall_at=30)
    async with openai_s(service) as client:
        async with await client.chat.completions.create(**ASKED, tools=[TOOL], stream=True) as stream:
            await anext(aiter(stream))
            await service.openai.journal.sent(30)
        [record] = await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
    assert 29 < record.generated < 100
    assert receipt["tokens"] >= record.spent


async def test_langchain_s_client_reads_values_and_calls_of_tools(service: Service):
    where: dict[str, Any] = {"base_url": f"{service.url}/v1", "api_key": SecretStr(KEY), "default_headers": WHO}
    model = ChatOpenAI(**where, model="gpt-4o-mini", stream_usage=True)

    plan = await model.with_structured_output(Plan).ainvoke("Plan!")
    called = await model.bind_tools([GetWeather]).ainvoke("Weather?")

    assert isinstance(plan, Plan)
    assert [call["name"] for call in called.tool_calls] == ["GetWeather"]
    assert GetWeather.model_validate(called.tool_calls[0]["args"])
    await check_nothing_is_left(service, used=sum(record.spent for record in service.openai.journal))
