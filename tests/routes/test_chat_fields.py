"""Which fields of `/v1/chat/completions` are refused, and which name the limit of the answer has."""

import pytest

from gptdock.errors import InvalidRequest
from gptdock.routes.chat import CompletionRequest
from tests.routes.test_chat import IMAGE, MESSAGES, MODELS, NEWEST, TOOL, body, read, sent

PREDICTION = {"type": "content", "content": "Because."}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "max_completion_tokens"),
        ({"max_tokens": 200}, "max_tokens"),
        ({"max_tokens": 200, "max_completion_tokens": None}, "max_tokens"),
        ({"max_completion_tokens": 200}, "max_completion_tokens"),
        ({"model": NEWEST, "max_tokens": 200}, "max_completion_tokens"),
        ({"prediction": PREDICTION}, "max_tokens"),
        ({"prediction": PREDICTION, "max_completion_tokens": 200}, "max_tokens"),
        ({"prediction": PREDICTION, "max_tokens": 200}, "max_tokens"),
    ],
)
def test_the_limit_has_the_name_that_the_model_takes(fields, name):
    asked = read(**fields)
    content = sent(asked, 50)

    assert content.keys() & {"max_tokens", "max_completion_tokens"} == {name}
    assert content[name] == 50
    assert asked.most_tokens in (None, 200)


@pytest.mark.parametrize("model", ["o1", "o4-mini", "openai/o3", "ft:gpt-5-mini::a", "gpt-5.1", NEWEST])
def test_a_model_that_knows_only_the_new_name_gets_it(model):
    asked = CompletionRequest.from_json(body(model=model, max_tokens=9), [model])

    assert asked.limit_name == "max_completion_tokens"


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-35-turbo", "openai/gpt-4.1", "o200k", "llama-5", "gpt-oss-20b"])
def test_any_other_model_gets_the_name_that_the_caller_wrote(model):
    asked = CompletionRequest.from_json(body(model=model, max_tokens=9), [model])

    assert asked.limit_name == "max_tokens"


@pytest.mark.parametrize("written", ["1", "1.0", "1e0", "0.1e1"])
def test_one_answer_is_asked_for_in_whatever_form(written):
    data = body(n=0).replace(b'"n": 0', b'"n": ' + written.encode())

    assert b'"n":1,' in CompletionRequest.from_json(data, MODELS).upstream_body(50)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 4}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Why?"}, "messages"),
        ({"messages": MESSAGES * 1001}, "messages"),
        ({"messages": ["Why?"]}, "messages[0]"),
        ({"messages": [*MESSAGES, {"content": "Why?"}]}, "messages[1]"),
        ({"messages": [{"role": 7, "content": "Why?"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {"type": "text"}}]}, "messages[0].content"),
        ({"messages": [*MESSAGES, {"role": "assistant", "audio": {"id": "a"}}]}, "messages[1].audio"),
        ({"messages": [{"role": "user", "content": [IMAGE, "Why?"]}]}, "messages[0].content[1]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": ["text"]}]}]}, "messages[0].content[0]"),
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"n": "1"}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": [1]}, "n"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"modalities": "text"}, "modalities"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"service_tier": {"a": 1}}, "service_tier"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"audio": {"voice": "a", "format": "wav"}}, "audio"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"tools": {}}, "tools"),
        ({"tools": [TOOL, {"type": "web_search"}]}, "tools[1]"),
        ({"tools": [{"function": {"name": "look"}}]}, "tools[0]"),
        ({"tools": [{"type": ["function"]}]}, "tools[0]"),
        ({"best_of": None}, "best_of"),
        ({"thinking": {"budget": 1}}, "thinking"),
        ({"Who are you?": 1}, "body"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_completion_tokens": 10**10}, "max_completion_tokens"),
        ({"max_completion_tokens": "50"}, "max_completion_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"user": "a\nb"}, "user"),
        ({"user": True}, "user"),
        ({"metadata": {"a": "\ud800"}}, "body"),
    ],
)
def test_a_field_without_bounded_cost_or_sense_is_refused_and_named(fields, param):
    with pytest.raises(InvalidRequest) as raised:
        read(**fields)

    assert raised.value.param == param


@pytest.mark.parametrize("fields", [{"n": 1}, {"n": None}, {"stream": None}, {"max_tokens": None}, {"user": 7}])
def test_null_counts_as_absent_and_one_answer_may_be_asked_for(fields):
    assert read(**fields).messages == len(MESSAGES)


def test_an_operator_s_fields_pass_and_are_counted():
    data = body(thinking={"budget": 10}, service_tier="priority", web_search_options={}, tools=[{"type": "web"}])
    passed = ["thinking", "service_tier", "web_search_options", "tools"]

    asked = CompletionRequest.from_json(data, MODELS, passed)

    assert sent(asked).keys() >= set(passed)
    assert asked.cost(len).text >= read().cost(len).text + len('{"budget":10}priority{}web')
    with pytest.raises(InvalidRequest):
        CompletionRequest.from_json(data, MODELS, passed[:3])
