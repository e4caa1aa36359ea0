"""Which bodies of `/v1/embeddings` are accepted, and what they cost."""

import json
from typing import Any

import pytest

from gptdock.errors import InvalidRequest, ModelNotFound, PromptTooLong
from gptdock.routes import requests
from gptdock.routes.embeddings import FORMAT, EmbeddingRequest
from gptdock.upstream import answers
from gptdock.upstream.answers import LARGE_BYTES
from gptdock.upstream.meter import Meter
from gptdock.upstream.usage import Usage

MODEL = "text-embedding-3-small"
USAGE = {"prompt_tokens": 5, "total_tokens": 5}


def read(**fields: Any) -> EmbeddingRequest:
    return EmbeddingRequest.from_json(json.dumps({"model": MODEL, "input": "Why?"} | fields).encode(), [MODEL])


@pytest.mark.parametrize(
    ("value", "tokens"),
    [("Why?", 4), (["Why?", "No."], 7), ([9, 8, 7], 3), ([[9, 8, 7], [6]], 4), (["Why?", [9, 8]], 6)],
)
def test_the_input_costs_its_tokens_in_whatever_form(value: Any, tokens: int):
    asked = read(input=value, dimensions=256, encoding_format="base64", user="u7")

    assert requests.price(asked, max_prompt_tokens=4, max_completion_tokens=1000, count=len) == tokens
    assert json.loads(asked.upstream_body(0)) == {
        "model": MODEL,
        "input": value,
        "dimensions": 256,
        "encoding_format": "base64",
        "user": "u7",
    }
    assert (asked.most_tokens, asked.stream) == (0, False)


def test_each_text_is_limited_and_not_all_together():
    with pytest.raises(PromptTooLong) as raised:
        requests.price(read(input=["Why?", "Because"]), max_prompt_tokens=6, max_completion_tokens=1000, count=len)

    assert raised.value.param == "input"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": {}}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": None}, "input"),
        ({"input": ""}, "input[0]"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", []]}, "input[1]"),
        ({"input": [1, "a"]}, "input[0]"),
        ({"input": [[1, True]]}, "input[0]"),
        ({"input": [[1, 2.0]]}, "input[0]"),
        ({"input": [[[1]]]}, "input[0]"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"dimensions": 10**6}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"encoding_format": {}}, "encoding_format"),
        ({"encoding_format": ["float"]}, "encoding_format"),
        ({"input": ["a"] * 427}, "input"),
        ({"stream": True}, "stream"),
        ({"n": 2}, "n"),
        ({"task": "x"}, "task"),
    ],
)
def test_what_is_no_request_for_embeddings_is_refused_and_named(fields: dict[str, Any], param: str):
    with pytest.raises(InvalidRequest) as raised:
        read(**fields)

    assert raised.value.param == param


def test_as_many_texts_are_embedded_as_their_answer_has_room_for():
    assert len(read(input=["a"] * 426).texts) == 426
    assert len(read(input=["a"] * 2048, encoding_format="base64").texts) == 2048
    assert len(read(input=["a"] * 1000, encoding_format="base64", dimensions=3072).texts) == 1000
    assert len(read(input=["a"] * 80, dimensions=8192).texts) == 80


def test_an_answer_has_so_many_bytes_as_its_vectors():
    assert read(input=["a"] * 3).answer_bytes(0) == 3 * 1536 * 32
    assert read(input=["a"] * 3, encoding_format="base64", dimensions=10).answer_bytes(0) == 3 * 10 * 6


def test_a_model_that_is_not_for_embeddings_is_not_found():
    with pytest.raises(ModelNotFound):
        read(model="gpt-4o-mini")


@pytest.mark.parametrize("size", [1, LARGE_BYTES])
def test_an_answer_is_charged_by_its_usage_though_it_has_no_text(size: int):
    raw = json.dumps({"object": "list", "data": ["x" * size], "model": MODEL, "usage": USAGE}).encode()
    meter = Meter(FORMAT)

    answer = answers.read(raw, FORMAT)
    assert answer
    meter.read_answer(answer.content, answer.raw)

    assert meter.final_usage == Usage(5, 5, 0)
    assert not meter.odd_usage
    assert ("data" in answer.content) == (size == 1)


@pytest.mark.parametrize("size", [1, LARGE_BYTES])
@pytest.mark.parametrize("usage", [{"prompt_tokens": 0, "total_tokens": 0}, None])
def test_a_usage_of_zero_is_not_believed_since_each_input_has_tokens(size: int, usage: Any):
    raw = json.dumps({"object": "list", "data": ["x" * size], "usage": usage}).encode()
    meter = Meter(FORMAT)

    answer = answers.read(raw, FORMAT)
    assert answer
    meter.read_answer(answer.content, answer.raw)

    assert answer.fault is None
    assert (meter.final_usage, meter.odd_usage) == (None, usage is not None)


@pytest.mark.parametrize(
    "body",
    [
        {"embeddings": [[0.5, 0.25]]},
        {"embeddings": {"float": [[1, 2]]}, "meta": {}},
        [{"index": 0, "embedding": [0.5]}],
        [[0.5, 0.25]],
        {"data": {"embedding": [0.5]}},
        {"data": {"embedding": "AAAAPw=="}},
    ],
)
def test_vectors_in_another_shape_are_charged_and_a_fault(body: Any):
    answer = answers.read(json.dumps(body).encode(), FORMAT)

    assert answer
    assert (answer.is_answer, answer.is_error) == (True, False)
    assert answer.fault


@pytest.mark.parametrize("body", [{}, [], {"status": "ok"}, {"embeddings": []}, {"data": None}, [[]], {"usage": {}}])
def test_an_answer_without_vectors_of_any_shape_is_none(body: Any):
    assert answers.read(json.dumps(body).encode(), FORMAT) is None
