"""`/v1/embeddings` through the whole service: who may ask, what comes down, and what is charged."""

import json
from typing import Any

import pytest

from gptdock.dev.script import Script
from gptdock.telemetry import metrics
from tests.harness.hostile import Fault, check_nothing_is_left, fault_of
from tests.harness.service import Service

WHO = {"X-Client-Id": "c1", "X-Product-Id": "p1", "X-User-Id": "u7"}
MODEL = "text-embedding-3-small"
TEXTS = ["Who are you?", "And who am I, then?"]


def embed(service: Service, **fields: Any):
    """POST /v1/embeddings; to be used with `async with`."""
    body = {"model": MODEL, "input": TEXTS} | fields
    return service.session.post(f"{service.url}/v1/embeddings", json=body, headers=WHO)


async def test_texts_are_embedded_and_charged_by_their_tokens(serve):
    async with serve(openai_embedding_models=MODEL) as service:
        async with embed(service) as response:
            answer = await response.json()
            assert int(response.headers["X-Quota-Left"]) == 500_000 - 11 - 8  # the texts, and the margin

        assert [each["index"] for each in answer["data"]] == [0, 1]
        [receipt] = await service.receipts()
        named = (receipt["user"], receipt["model"], receipt["source"], receipt["completion_tokens"])
        assert named == ("u7", MODEL, "upstream", 0)
        await check_nothing_is_left(service, used=answer["usage"]["total_tokens"])


async def test_metrics_tell_embeddings_from_answers(serve):
    child = metrics.INPUT_TOKENS.labels("embeddings", "openai", MODEL, "unknown")
    before = child.value
    async with serve(openai_embedding_models=MODEL) as service:
        async with embed(service) as response:
            assert response.status == 200

        assert await service.used() == child.value - before > 0


async def test_only_the_models_for_embeddings_are_served_and_all_are_listed(serve):
    async with serve(openai_embedding_models=MODEL) as service:
        async with embed(service, model="gpt-4o-mini") as response:
            assert await fault_of(response) == Fault(404, "model_not_found", "model")
        async with service.session.get(f"{service.url}/v1/models") as response:
            assert [each["id"] for each in (await response.json())["data"]] == ["gpt-4o-mini", MODEL]
        async with service.session.get(f"{service.url}/v1/models/{MODEL}") as response:
            assert (await response.json())["id"] == MODEL

        assert service.openai.requests == 0


async def test_without_a_setting_no_model_is_served(service: Service):
    async with embed(service) as response:
        assert await fault_of(response) == Fault(404, "model_not_found", "model")


@pytest.mark.parametrize(
    ("script", "charged"),
    [
        (Script(cut="close"), True),
        (Script(usage=False), True),
        (Script(usage={"prompt_tokens": 0, "total_tokens": 0}), True),
        (Script(raw=b'{"embeddings": [[0.5]]}', content_type="application/json"), True),
        (Script(status=400, error={"message": "No."}), False),
        (Script(raw=b"<p>"), True),
    ],
)
async def test_an_answer_that_is_lost_is_charged_its_texts_and_a_refusal_nothing(serve, script: Script, charged: bool):
    async with serve(openai_embedding_models=MODEL) as service:
        service.openai.script = script
        async with embed(service, input="Who are you?") as response:
            await response.read()

        used = await service.used()
        assert 4 <= used <= 4 + 8 if charged else used == 0
        await check_nothing_is_left(service, used=used)


async def test_our_key_is_masked_in_an_answer_with_vectors_and_an_error(serve):
    used = {"prompt_tokens": 4, "total_tokens": 4}
    error = {"message": "Not with sk-upstream-secret."}
    raw = json.dumps({"data": [], "error": error, "usage": used}).encode()
    async with serve(openai_embedding_models=MODEL) as service:
        service.openai.script = Script(raw=raw, content_type="application/json")
        async with embed(service) as response:
            assert (response.status, (await response.json())["error"]) == (200, {"message": "Not with ***."})

        await check_nothing_is_left(service, used=4)


async def test_a_client_without_quota_gets_no_embeddings(serve):
    async with serve(openai_embedding_models=MODEL, default_token_quota=18) as service:
        async with embed(service) as response:
            assert await fault_of(response) == Fault(402, "insufficient_quota")

        assert service.openai.requests == 0
