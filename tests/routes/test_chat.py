"""Which bodies of `/v1/chat/completions` are accepted, what they cost at most, and what is sent upstream."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.errors import InvalidRequest, ModelNotFound, PromptTooLong
from gptdock.routes import requests
from gptdock.routes.chat import CompletionRequest
from gptdock.routes.requests import Cost

NEWEST = "gpt-6"
MODELS = ("gpt-4o-mini", "gpt-4o", NEWEST)
MESSAGES = [{"role": "user", "content": "Why?"}]
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def read(**fields: Any) -> CompletionRequest:
    return CompletionRequest.from_json(body(**fields), MODELS)


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "gpt-4o-mini", "messages": MESSAGES} | fields).encode()


def sent(asked: CompletionRequest, completion_tokens: int = 50) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(asked.upstream_body(completion_tokens))
    return content


def words(text: str) -> int:
    return len(text.split())


def test_fields_that_do_not_decide_the_cost_are_passed_on_unchanged():
    fields = {
        "temperature": 0.30000000000000004,
        "seed": 2**70,
        "tools": [TOOL],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Wäs ist ☃?"}, IMAGE], "name": "zoé"}],
        "logit_bias": {"50256": -100},
        "user": "u7",
        "metadata": None,
        "audio": None,
        "service_tier": "flex",
        "store": True,
    }

    content = sent(read(**fields))

    assert {name: content[name] for name in fields} == fields


def test_the_limit_of_the_answer_is_what_the_hold_can_pay_for():
    assert sent(read(), 50)["max_completion_tokens"] == 50
    assert sent(read(max_completion_tokens=200), 50)["max_completion_tokens"] == 50


def test_a_stream_is_asked_for_with_its_usage_and_the_caller_s_other_options():
    content = sent(read(stream=True, stream_options={"include_obfuscation": False}))

    assert content["stream"] is True
    assert content["stream_options"] == {"include_obfuscation": False, "include_usage": True}


@pytest.mark.parametrize(
    ("options", "shown"),
    [(None, False), ({}, False), ({"include_usage": False}, False), ({"include_usage": True}, True)],
)
def test_the_usage_is_shown_only_if_it_was_asked_for(options, shown):
    assert read(stream=True, stream_options=options).show_usage is shown


def test_stream_options_of_a_whole_answer_are_passed_on():
    assert sent(read(stream_options={"include_usage": True}))["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent(read())


def test_a_model_that_is_not_served_is_not_found():
    with pytest.raises(ModelNotFound) as raised:
        read(model="gpt-9")

    assert (raised.value.status, raised.value.param) == (404, "model")


@pytest.mark.parametrize("depth", [100, 500, *range(900, 1000), 5000, 100_000])
@pytest.mark.parametrize("field", ["metadata", "response_format"])
def test_a_deep_body_is_passed_on_or_refused_and_never_half_read(field, depth):
    data = body(**{field: 0}).replace(b'": 0', b'": ' + b"[" * depth + b"]" * depth)

    try:
        asked = CompletionRequest.from_json(data, MODELS)
        assert asked.cost(len).text > 0
    except InvalidRequest:
        assert depth > 500
    else:
        assert asked.upstream_body(1).count(b"[") == depth + 1


def test_a_prompt_costs_its_roles_its_texts_and_three_tokens_a_message():
    messages = [{"role": "system", "content": "Be very kind."}, *MESSAGES, {"role": "assistant", "content": None}]

    assert read(messages=messages).cost(words) == Cost(3 + (3 + 1 + 3) + (3 + 1 + 1) + (3 + 1), 0)


def test_the_parts_of_a_message_cost_their_texts():
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "this here now"}]

    assert read(messages=[{"role": "user", "content": parts}]).cost(words) == Cost(3 + 3 + 1 + 2 + 3, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [TOOL]},
        {"functions": [TOOL["function"]]},
        {"response_format": {"type": "json_object"}},
        {"prediction": {"type": "content", "content": "Because."}},
        {"messages": [*MESSAGES, {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "look"}}]}]},
        {"messages": [{"role": "user", "content": "Why?", "name": "ann"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?", "note": "Because."}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}, "note": "Why? " * 9}]}]},
    ],
)
def test_whatever_the_model_reads_is_counted(fields):
    assert read(**fields).cost(len).text > read().cost(len).text


@pytest.mark.parametrize("values", [["red", "green", "blue"], ["Berlin", "Paris", "New York"] * 40])
def test_a_tool_s_choices_cost_what_openai_counts_for_them(tokens, values):
    city = {"type": "string", "description": "where", "enum": values}
    tool = {"name": "look", "description": "look", "parameters": {"type": "object", "properties": {"city": city}}}

    cost = read(tools=[{"type": "function", "function": tool}]).cost(tokens.count).text - read().cost(tokens.count).text

    # https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken, for gpt-4o
    texts = sum(map(tokens.count, ("look:look", "city:string:where", *values)))
    assert cost >= 7 + 3 + 3 - 3 + 3 * len(values) + 12 + texts


@pytest.mark.parametrize(
    ("image", "tokens"),
    [({"url": "a", "detail": "low"}, 3_779), ({"url": "a"}, 30_000), ("a", 30_000), (None, 30_000)],
)
def test_an_image_costs_the_most_that_it_may_cost(image, tokens):
    part = {"type": "image_url", "image_url": image}
    asked = read(model=NEWEST, messages=[{"role": "user", "content": [part, part]}])

    assert asked.cost(words) == Cost(3 + 3 + 1, 2 * tokens)


def test_text_is_limited_and_images_are_not():
    asked = read(messages=[{"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]}])

    assert requests.price(asked, max_prompt_tokens=10, max_completion_tokens=1000, count=words) == 10 + 2_833
    with pytest.raises(PromptTooLong) as raised:
        requests.price(asked, max_prompt_tokens=9, max_completion_tokens=1000, count=words)
    assert raised.value.param == "messages"


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "refusal", "file"])}, optional={"text": JSON}
)
MESSAGE = st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls"]), JSON | st.lists(PART) | st.text())
FIELDS = ["n", "user", "stream", "stream_options", "max_tokens", "tools", "model", "seed", "other"]


@given(st.lists(MESSAGE | JSON), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_body_is_bounded_and_passed_on_or_refused(messages, fields):
    try:
        asked = CompletionRequest.from_json(
            json.dumps({"model": "gpt-4o", "messages": messages} | fields).encode(), MODELS
        )
        cost = asked.cost(len)
    except (InvalidRequest, ModelNotFound):
        return

    content = sent(asked, 7)
    assert cost.text >= 3 + 3 * len(messages)
    assert content["messages"] == messages
    assert content.get("n") in (None, 1)
    assert content[asked.limit_name] == 7
