"""Clients written for OpenAI work with no more than a base URL, a key and the headers that name the client."""

import asyncio
import json
from typing import Any

import httpx2
import openai
import pytest
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI
from pydantic import SecretStr

from gptdock.dev.script import Script
from gptdock.errors import QuotaOnHold
from tests.harness.hostile import check_nothing_is_left
from tests.harness.service import KEY, Service

TOO_LONG = "context_length_exceeded"
INVALID = {"code": "invalid_prompt"}
WHO = {"X-Client-Id": "c1", "X-Product-Id": "p1"}
ASKED: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Who are you?"}],
    "user": "u7",
}


def openai_s(service: Service, **options: Any) -> AsyncOpenAI:
    """A client of the package `openai`, with changed options; use it with `async with`."""
    told: dict[str, Any] = {"base_url": f"{service.url}/v1", "api_key": KEY, "default_headers": WHO}
    return AsyncOpenAI(**told | options)


@pytest.fixture
async def client(service: Service):
    async with openai_s(service) as client:
        yield client


async def test_openai_s_client_reads_a_whole_answer(service: Service, client: AsyncOpenAI):
    completion = await client.chat.completions.create(**ASKED)

    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].message.content
    assert completion.usage
    await check_nothing_is_left(service, used=completion.usage.total_tokens)


async def test_openai_s_client_reads_a_stream_and_its_usage(service: Service, client: AsyncOpenAI):
    stream = await client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})

    chunks = [chunk async for chunk in stream]

    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 10
    assert chunks[-1].usage
    await check_nothing_is_left(service, used=chunks[-1].usage.total_tokens)


async def test_openai_s_client_that_closes_a_stream_pays_for_what_came(service: Service, client: AsyncOpenAI):
    service.openai.script = Script(tokens=100, stall_at=9)
    async with await client.chat.completions.create(**ASKED, stream=True) as stream:
        await anext(aiter(stream))
        await service.openai.journal.sent(9)

    [record] = await service.openai.journal.left()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
    assert receipt["tokens"] >= record.spent


async def test_openai_s_client_without_async_reads_both(service: Service):
    def ask() -> tuple[str | None, str]:
        with OpenAI(base_url=f"{service.url}/v1", api_key=KEY, default_headers=WHO) as client:
            whole = client.chat.completions.create(**ASKED)
            chunks = list(client.chat.completions.create(**ASKED, stream=True))
            return whole.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    whole, streamed = await asyncio.to_thread(ask)

    assert whole == streamed
    await check_nothing_is_left(service, used=sum(record.spent for record in service.openai.journal))


async def test_openai_s_client_lists_the_models(client: AsyncOpenAI):
    assert [model.id async for model in client.models.list()] == ["gpt-4o-mini"]


async def test_openai_s_client_does_not_retry_without_quota(serve):
    async with (
        serve(default_token_quota=5) as service,
        openai_s(service) as client,
    ):
        with pytest.raises(openai.APIStatusError) as raised:
            await client.chat.completions.create(**ASKED)

        assert (raised.value.status_code, raised.value.code) == (402, "insufficient_quota")
        assert raised.value.response.request.headers["x-stainless-retry-count"] == "0"
        assert service.openai.requests == 0


async def test_openai_s_client_does_not_retry_what_was_charged(service: Service):
    service.openai.script = Script(tokens=20, cut="close")
    async with openai_s(service, max_retries=2) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            await client.chat.completions.create(**ASKED)

    assert raised.value.code == "upstream_error"
    [receipt] = await service.receipts()
    await check_nothing_is_left(service, used=receipt["tokens"])


@pytest.mark.parametrize(
    ("script", "asked", "error", "code"),
    [
        (Script(), {"model": "gpt-9"}, openai.NotFoundError, "model_not_found"),
        (Script(), {"n": 2}, openai.BadRequestError, "invalid_request"),
        (Script(status=400, error={"param": "tools"}), {}, openai.BadRequestError, "invalid_request"),
        (
            Script(status=400, error={"code": "context_length_exceeded"}),
            {},
            openai.BadRequestError,
            "context_length_exceeded",
        ),
        (Script(status=429, headers={"Retry-After": "60"}), {}, openai.RateLimitError, "rate_limited"),
        (Script(status=401), {}, openai.InternalServerError, "upstream_error"),
    ],
)
async def test_openai_s_client_raises_its_own_errors(service: Service, script: Script, asked, error, code):
    service.openai.script = script
    async with openai_s(service, max_retries=0) as client:
        with pytest.raises(error) as raised:
            await client.chat.completions.create(**ASKED | asked)

    assert raised.value.code == code
    assert raised.value.request_id == raised.value.response.json()["request_id"]


@pytest.mark.parametrize(
    ("script", "asked", "error", "code"),
    [
        (Script(status=404, error={"code": "model_not_found"}), {}, openai.NotFoundError, "model_not_found"),
        (Script(status=422, error={}), {}, openai.UnprocessableEntityError, "invalid_request"),
        (Script(status=400, error={"code": "content_filter"}), {}, openai.BadRequestError, "content_filter"),
        (Script(status=401), {}, openai.InternalServerError, "upstream_error"),
        (Script(status=403), {"stream": True}, openai.InternalServerError, "upstream_error"),
        (Script(error_at=0, error=INVALID), {"stream": True}, openai.BadRequestError, "invalid_prompt"),
    ],
)
async def test_openai_s_client_does_not_retry_what_is_refused(service: Service, script: Script, asked, error, code):
    service.openai.script = script
    async with openai_s(service, max_retries=2) as client:
        with pytest.raises(error) as raised:
            await client.chat.completions.create(**ASKED | asked)

    assert (raised.value.code, service.openai.requests) == (code, 1)


async def test_openai_s_client_reads_a_whole_answer_that_came_in_place_of_a_stream(service: Service):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "hello", "tool_calls": [call]}
    answer = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    raw = json.dumps(answer | {"usage": {"total_tokens": 910}}).encode()
    service.openai.script = Script(raw=raw, content_type="application/json")
    async with openai_s(service) as client:
        chunks = [each async for each in await client.chat.completions.create(**ASKED, stream=True)]

    [delta] = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert delta.content == "hello"
    assert delta.tool_calls is not None
    assert [(each.index, each.id) for each in delta.tool_calls] == [(0, "call_1")]
    await check_nothing_is_left(service, used=910)


async def test_openai_s_client_without_a_right_key_is_denied(service: Service):
    async with openai_s(service, api_key="wrong") as client:
        with pytest.raises(openai.PermissionDeniedError):
            await client.chat.completions.create(**ASKED)


async def test_openai_s_client_raises_when_a_stream_is_cut(service: Service, client: AsyncOpenAI):
    service.openai.script = Script(tokens=20, cut="close", cut_at=9)

    with pytest.raises(openai.APIError) as raised:
        async for _ in await client.chat.completions.create(**ASKED, stream=True):
            pass

    assert raised.value.code == "upstream_error"


async def test_openai_s_client_retries_while_the_process_is_overloaded(serve):
    refused = asyncio.Event()

    async def note(response: httpx2.Response) -> None:
        if response.status_code == 503:
            refused.set()

    async with (
        serve(max_streams=1) as service,
        openai.DefaultAsyncHttpxClient(event_hooks={"response": [note]}) as http,
        openai_s(service, max_retries=5, http_client=http) as it,
        asyncio.TaskGroup() as tasks,
    ):
        service.openai.next(Script(hold_at=3))
        async with service.ask(stream=True) as held:
            asking = tasks.create_task(it.chat.completions.create(**ASKED))
            await refused.wait()
            service.openai.release()
            await held.read()
        assert (await asking).choices[0].message.content


async def test_openai_s_client_retries_while_its_quota_is_on_hold(serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(QuotaOnHold, "retry_after", 0)
    refused = asyncio.Event()

    async def note(response: httpx2.Response) -> None:
        if response.status_code == 429:
            refused.set()

    async with (
        serve(default_token_quota=1_000) as service,
        openai.DefaultAsyncHttpxClient(event_hooks={"response": [note]}) as http,
        openai_s(service, max_retries=9, http_client=http) as it,
        asyncio.TaskGroup() as tasks,
    ):
        service.openai.next(Script(hold_at=3))
        async with service.ask(stream=True) as held:
            asking = tasks.create_task(it.chat.completions.create(**ASKED))
            await refused.wait()
            service.openai.release()
            await held.read()
        assert (await asking).choices[0].message.content


async def test_langchain_s_client_reads_both(service: Service):
    where: dict[str, Any] = {"base_url": f"{service.url}/v1", "api_key": SecretStr(KEY), "default_headers": WHO}
    model = ChatOpenAI(**where, model="gpt-4o-mini", stream_usage=True)

    whole = await model.ainvoke("Who are you?")
    streamed = [chunk async for chunk in model.astream("Who are you?")]

    assert whole.content == "".join(str(chunk.content) for chunk in streamed)
    assert whole.usage_metadata
    await check_nothing_is_left(service, used=2 * whole.usage_metadata["total_tokens"])
