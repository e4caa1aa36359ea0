"""The simulated OpenAI embeds texts in the format of the real one, judged by the types of its package."""

import base64
import math
from array import array

import pytest
from openai.types import CreateEmbeddingResponse

from gptdock.dev.script import Script
from tests.harness.openai_types import check
from tests.harness.simulated import KEY, read


def ask(server, session, **more):
    body = {"model": "text-embedding-3-small", "input": "How are you?"} | more
    return session.post(f"{server.url}/embeddings", json=body, headers=KEY)


async def embed(server, session, **more):
    async with ask(server, session, **more) as response:
        return await response.json()


@pytest.mark.parametrize(
    ("given", "vectors", "tokens"),
    [("How are you?", 1, 3), (["one", "two words"], 2, 3), ([11, 12, 13, 14], 1, 4), ([[11, 12], [13]], 2, 3)],
)
async def test_each_text_has_a_vector(server, session, given, vectors, tokens):
    answer = await embed(server, session, input=given)

    check(CreateEmbeddingResponse, answer)
    assert [each["index"] for each in answer["data"]] == list(range(vectors))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens} == server.journal[0].usage
    assert (server.journal[0].spent, server.journal[0].embedded) == (tokens, vectors)


async def test_a_vector_has_length_one_and_is_always_the_same(server, session):
    one, other = [await embed(server, session) for _ in range(2)]

    vector = one["data"][0]["embedding"]
    assert one["data"] == other["data"]
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "size"), [({}, 1536), ({"model": "text-embedding-3-large"}, 3072), ({"dimensions": 5}, 5)]
)
async def test_a_vector_has_the_dimensions_asked_for(server, session, asked, size):
    plain = await embed(server, session, **asked)
    coded = await embed(server, session, encoding_format="base64", **asked)

    vector = plain["data"][0]["embedding"]
    assert len(vector) == size
    assert list(array("f", base64.b64decode(coded["data"][0]["embedding"]))) == vector


async def test_an_answer_may_be_cut(server, session):
    server.script = Script(cut="close")

    async with ask(server, session) as response:
        _, is_whole = await read(response)

    assert not is_whole
    assert (server.journal[0].spent, server.journal[0].completed) == (3, False)


@pytest.mark.parametrize("given", [None, "", [], [""], [[]], 7, ["a"] * 2049])
async def test_a_malformed_body_is_a_400(server, session, given):
    async with ask(server, session, input=given) as response:
        assert response.status == 400
    assert server.journal == []
