"""LangChain's client, by chat completions and by the Responses API, sees each end of an answer through GPTDock."""

from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from gptdock.dev.script import Script
from tests.harness.service import KEY, Service
from tests.system.test_foreign_clients import WHO
from tests.system.test_foreign_clients_responses import CUTS, check_each_is_counted

both_apis = pytest.mark.parametrize("by_responses", [False, True], ids=["chat", "responses"])


def langchain_s(service: Service, *, by_responses: bool) -> ChatOpenAI:
    """LangChain's client, which asks anew twice where it may."""
    where: dict[str, Any] = {"base_url": f"{service.url}/v1", "api_key": SecretStr(KEY), "default_headers": WHO}
    return ChatOpenAI(**where, model="gpt-4o-mini", use_responses_api=by_responses, max_retries=2)


@both_apis
async def test_langchain_s_client_raises_however_an_answer_is_cut(service: Service, by_responses: bool):
    model = langchain_s(service, by_responses=by_responses)
    for script in CUTS:
        service.openai.next(script)
        with pytest.raises(openai.APIError):
            [chunk async for chunk in model.astream("Who are you?")]

    assert len(service.openai.journal) == len(CUTS)
    await check_each_is_counted(service)


@both_apis
async def test_langchain_s_client_that_leaves_pays_for_what_came(service: Service, by_responses: bool):
    service.openai.script = Script(tokens=100, stall_at=30)
    stream: Any = langchain_s(service, by_responses=by_responses).astream("Who are you?")
    await anext(stream)
    await service.openai.journal.sent(30)
    await stream.aclose()
    await service.openai.journal.left()

    assert (await service.receipts())[0]["outcome"] == "caller_left"
    await check_each_is_counted(service)


@both_apis
async def test_langchain_s_client_without_quota_is_refused_once(serve, by_responses: bool):
    async with serve(default_token_quota=5) as service:
        with pytest.raises(openai.APIStatusError) as raised:
            await langchain_s(service, by_responses=by_responses).ainvoke("Who are you?")

        assert (raised.value.status_code, service.openai.requests) == (402, 0)
