"""Clients written for OpenAI ask for embeddings and for a model through GPTDock, whichever way that ends."""

import asyncio
from typing import Any

import openai
import pytest
from openai import OpenAI

from gptdock.dev.script import Script
from tests.harness.hostile import check_nothing_is_left
from tests.harness.service import KEY, Service
from tests.system.test_foreign_clients import WHO, openai_s

MODEL = "text-embedding-3-small"
TEXTS: dict[str, Any] = {"model": MODEL, "input": ["Who are you?", "And who am I?"]}


@pytest.fixture
async def embedding(serve):
    async with serve(openai_embedding_models=MODEL) as service:
        yield service


async def test_openai_s_client_reads_embeddings_and_models(embedding: Service):
    """The package asks for base64, and shows floats; models cost nothing."""
    async with openai_s(embedding) as client:
        answer = await client.embeddings.create(**TEXTS)
        as_floats = await client.embeddings.create(**TEXTS, encoding_format="float")
        model = await client.models.retrieve(MODEL)
        with pytest.raises(openai.NotFoundError) as raised:
            await client.models.retrieve("gpt-9")

    assert [len(each.embedding) for each in answer.data] == [1536, 1536]
    assert answer.data[0].embedding == pytest.approx(as_floats.data[0].embedding)
    assert (model.id, model.object, raised.value.code) == (MODEL, "model", "model_not_found")
    await check_nothing_is_left(embedding, used=answer.usage.total_tokens + as_floats.usage.total_tokens)


async def test_openai_s_client_without_async_reads_embeddings_and_models(embedding: Service):
    def ask() -> tuple[int, int, str]:
        with OpenAI(base_url=f"{embedding.url}/v1", api_key=KEY, default_headers=WHO) as client:
            answer = client.embeddings.create(**TEXTS, dimensions=8)
            return len(answer.data[1].embedding), answer.usage.total_tokens, client.models.retrieve(MODEL).id

    size, tokens, model = await asyncio.to_thread(ask)

    assert (size, model) == (8, MODEL)
    await check_nothing_is_left(embedding, used=tokens)


async def test_openai_s_client_that_leaves_embeddings_pays_for_its_texts(embedding: Service):
    embedding.openai.script = Script(stall_at=1)
    async with openai_s(embedding) as client:
        asking = asyncio.create_task(client.embeddings.create(**TEXTS))
        await embedding.openai.journal.sent(1)
        asking.cancel()
        [record] = await embedding.openai.journal.left()

    [receipt] = await embedding.receipts()
    assert (receipt["source"], receipt["outcome"], receipt["prompt_tokens"]) == ("counted", "caller_left", record.spent)


@pytest.mark.parametrize("cut", ["close", "rst", "close_delimited"])
async def test_openai_s_client_raises_when_embeddings_are_cut(embedding: Service, cut: Any):
    embedding.openai.script = Script(cut=cut)
    async with openai_s(embedding, max_retries=2) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            await client.embeddings.create(**TEXTS)

    [record], [receipt] = embedding.openai.journal, await embedding.receipts()
    assert raised.value.code == "upstream_error"
    assert receipt["prompt_tokens"] == record.spent


async def test_openai_s_client_has_no_embeddings_without_quota_or_model(serve):
    async with serve(openai_embedding_models=MODEL, default_token_quota=5) as service, openai_s(service) as client:
        with pytest.raises(openai.APIStatusError) as raised:
            await client.embeddings.create(**TEXTS)
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(**TEXTS | {"model": "text-embedding-9"})

        assert (raised.value.status_code, raised.value.code, service.openai.requests) == (402, "insufficient_quota", 0)
