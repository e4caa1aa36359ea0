"""Which bodies of `/v1/responses` are accepted, what they cost at most, and what is sent upstream."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.errors import InvalidRequest, ModelNotFound
from gptdock.routes import requests
from gptdock.routes.responses import ResponseRequest

NEWEST = "gpt-6"
MODELS = ("gpt-4o-mini", NEWEST)
IMAGE = {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"}
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}
CALL = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
ITEMS = [
    {"role": "user", "content": [{"type": "input_text", "text": "Why?"}, IMAGE]},
    {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "abc"},
    CALL,
    {"type": "function_call_output", "call_id": "c", "output": "Because."},
    {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "So."}]},
]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "gpt-4o-mini", "input": "Why?"} | fields).encode()


def read(**fields: Any) -> ResponseRequest:
    return ResponseRequest.from_json(body(**fields), MODELS)


def sent(asked: ResponseRequest, completion_tokens: int = 50) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(asked.upstream_body(completion_tokens))
    return content


def test_everything_that_does_not_decide_the_cost_is_passed_on_unchanged():
    fields: dict[str, Any] = {
        "input": ITEMS,
        "instructions": "Be brief.",
        "tools": [TOOL, {"type": "custom", "name": "any"}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
        "reasoning": {"effort": "high", "summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "background": False,
        "previous_response_id": None,
        "prompt_cache_key": "k",
        "truncation": "auto",
        "stream_options": {"include_obfuscation": False},
    }

    content = sent(read(**fields))

    assert {name: content[name] for name in fields} == fields
    assert content.keys() - fields.keys() == {"model", "stream", "max_output_tokens"}


@pytest.mark.parametrize(
    ("asked", "most"), [({}, None), ({"max_output_tokens": None}, None), ({"max_output_tokens": 9}, 9)]
)
def test_the_limit_of_the_answer_is_what_the_hold_can_pay_for(asked: dict[str, Any], most: int | None):
    assert read(**asked).most_tokens == most
    assert sent(read(**asked), 50)["max_output_tokens"] == 50


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        *(({name: {"id": "x"}}, name) for name in ("conversation", "prompt", "image", "moderation", "access_programs")),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"background": 0}, "background"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"service_tier": "ultrafast"}, "service_tier"),
        ({"max_completion_tokens": 9}, "max_completion_tokens"),
        ({"n": 1}, "n"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"max_output_tokens": 9.0}, "max_output_tokens"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"reasoning": "high"}, "reasoning"),
        ({"text": "json"}, "text"),
        ({"instructions": ["Be brief."]}, "instructions"),
        ({"stream": "yes"}, "stream"),
        ({"user": "a\nb"}, "user"),
        *(
            ({"tools": [TOOL, {"type": kind}]}, "tools[1]")
            for kind in ("web_search", "mcp", "namespace", "tool_search")
        ),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": {}}, "input"),
        ({"input": [CALL] * 1001}, "input"),
        ({"input": ["Why?"]}, "input[0]"),
        ({"input": [CALL, {"content": "Why?"}]}, "input[1]"),
        ({"input": [{"type": {}, "role": "user", "content": "Why?"}]}, "input[0]"),
        *(
            ({"input": [{"type": kind, "id": "x"}]}, "input[0]")
            for kind in (
                "item_reference",
                "additional_tools",
                "compaction",
                "compaction_trigger",
                "mcp_call",
                ["message"],
            )
        ),
        ({"input": [{"type": "reasoning", "encrypted_content": {}}]}, "input[0].encrypted_content"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
        ({"input": [{"role": "user", "id": "msg_1"}]}, "input[0].content"),
        ({"input": [{"role": "user", "id": "msg_1", "type": None, "content": None}]}, "input[0].content"),
        ({"input": [{"type": "custom_tool_call_output", "output": {}}]}, "input[0].output"),
        *(
            ({"input": [{"role": "user", "content": [part]}]}, "input[0].content[0]")
            for part in (
                "Why?",
                {"type": "input_file", "file_url": "https://example.com/a.pdf"},
                {"type": "input_audio"},
                {"type": "input_text"},
                {"type": "input_image", "detail": "low"},
                {"type": ["input_text"], "text": "Why?"},
            )
        ),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_file"}]}]}, "input[0].output[0]"),
        ({"input": [{"role": "user", "content": [IMAGE | {"file_id": "f"}]}]}, "input[0].content[0].file_id"),
    ],
)
def test_what_has_no_bounded_cost_is_refused_and_named(fields: dict[str, Any], param: str):
    with pytest.raises(InvalidRequest) as raised:
        read(**fields)

    assert raised.value.param == param


def test_a_model_that_is_not_served_is_not_found_on_any_route():
    with pytest.raises(ModelNotFound):
        read(model="gpt-9")


@pytest.mark.parametrize(
    "fields",
    [
        {"instructions": "Be brief."},
        {"tools": [TOOL]},
        {"tool_choice": {"type": "function", "name": "look"}},
        {"text": {"format": {"type": "json_object"}}},
        *({"input": [{"role": "user", "content": "Why?"}, each]} for each in ITEMS),
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Why?", "note": "x"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Why?"}, IMAGE | {"note": "x"}]}]},
    ],
)
def test_whatever_the_model_reads_costs(fields: dict[str, Any]):
    plain, more = read().cost(len), read(**fields).cost(len)

    assert sum(more) > sum(plain)


def test_what_is_encrypted_counts_by_its_bytes_and_an_image_by_its_detail():
    item = {"type": "reasoning", "encrypted_content": "é" * 500}
    images = [{"role": "user", "content": [IMAGE, IMAGE | {"detail": "auto"}]}]

    assert read(input=[item]).cost(len).others == 1000
    assert read(model=NEWEST, input=images).cost(len).others == 3_779 + 30_000


THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}


@pytest.mark.parametrize(
    ("fields", "recalled"),
    [
        ({}, 1),
        ({"encrypted_content": None}, 1),
        ({"encrypted_content": ""}, 1),
        ({"encrypted_content": "abc"}, 0),
        ({"id": None}, 0),
    ],
)
def test_reasoning_that_the_upstream_recalls_costs_as_much_as_an_answer(fields: dict[str, Any], recalled: int):
    asked = read(input=[{"role": "user", "content": "Why?"}, THOUGHT | fields])

    price = requests.price(asked, max_prompt_tokens=1000, max_completion_tokens=5000, count=len)

    assert price - sum(asked.cost(len)[:2]) == recalled * 5000


def test_a_prompt_in_both_formats_costs_about_the_same(tokens):
    asked = read(instructions="Be brief.", input="Why is the sky blue?")

    texts = sum(map(tokens.count, ("Be brief.", "Why is the sky blue?")))
    assert 3 + 2 * 3 + texts + 2 <= asked.cost(tokens.count).text <= 3 + 2 * 3 + texts + 10


SCALAR = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
KINDS = st.sampled_from(["message", "function_call", "function_call_output", "reasoning", "input_text", "input_image"])
KEYS = ["role", "content", "output", "encrypted_content", "text", "image_url", "arguments"]
ITEM = st.fixed_dictionaries({}, optional={"type": KINDS} | dict.fromkeys(KEYS, JSON))


@given(
    st.lists(ITEM | JSON) | JSON, st.dictionaries(st.sampled_from(["tools", "stream", "text", "reasoning", "n"]), JSON)
)
def test_any_input_is_bounded_and_passed_on_or_refused(value: Any, fields: dict[str, Any]):
    try:
        asked = ResponseRequest.from_json(body(input=value, **fields), MODELS)
        cost = asked.cost(len)
    except InvalidRequest:
        return

    content = sent(asked, 7)
    assert cost.text >= 6
    assert (content["input"], content["max_output_tokens"]) == (value, 7)
