"""Which prompt is made of a question, what it costs, and what is sent upstream."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.errors import PromptTooLong
from gptdock.prompt import ask
from gptdock.prompt.ask import ChatRequest, Message, Prompt

HISTORIES = st.lists(st.builds(Message, st.sampled_from(ask.ROLES), st.text(max_size=20)), max_size=12)


def request(question="Why?", history=()):
    return ChatRequest(question, "u", "c", "p", False, tuple(history))


def test_a_message_costs_its_role_its_content_and_three_tokens():
    assert ask.count_message(Message("user", "12345"), len) == 3 + 4 + 5


@given(HISTORIES, st.integers(-5, 400))
def test_the_longest_newest_part_that_fits_is_kept(history, budget):
    kept, _ = ask.trim_history(history, budget, len)

    def cost(messages):
        return sum(ask.count_message(message, len) for message in messages)

    assert kept == tuple(history[len(history) - len(kept) :])
    assert not kept or cost(kept) <= budget
    assert len(kept) == len(history) or cost(history[-len(kept) - 1 :]) > budget


@pytest.mark.parametrize(
    ("budget", "needed"), [(19, ["c", "b", "aa"]), (18, ["c", "b"]), (15, ["c", "b"]), (10, ["c"]), (2, [])]
)
def test_a_turn_is_counted_only_if_it_may_be_kept(budget, needed):
    history = [Message("user", "aa"), Message("user", "b"), Message("user", "c")]
    seen = []

    def count(text):
        seen.append(text)
        return len(text)

    ask.trim_history(history, budget, count)

    assert [text for text in seen if text != "user"] == needed


def test_a_prompt_is_system_then_history_then_question():
    history = [Message("user", "Hi"), Message("assistant", "Hello")]

    prompt = ask.assemble(request("Why?", history), head=ask.head("Be kind.", len), max_prompt_tokens=1000, count=len)

    assert prompt.messages == (Message("system", "Be kind."), *history, Message("user", "Why?"))
    assert prompt.tokens == (3 + 6 + 8) + (3 + 4 + 2) + (3 + 9 + 5) + (3 + 4 + 4) + 3


def test_an_empty_system_prompt_is_left_out():
    prompt = ask.assemble(request("Why?"), head=ask.head("", len), max_prompt_tokens=100, count=len)

    assert prompt == Prompt((Message("user", "Why?"),), 3 + 4 + 4 + 3)


def test_the_oldest_turns_are_left_out_first():
    history = [Message("user", "old"), Message("user", "new")]

    prompt = ask.assemble(request("Why?", history), head=ask.head("", len), max_prompt_tokens=14 + 10, count=len)

    assert prompt == Prompt((Message("user", "new"), Message("user", "Why?")), 24)


@pytest.mark.parametrize("system", ["", "Be kind."])
def test_a_question_may_fill_the_prompt_but_not_more(system):
    fits = 14 + (17 if system else 0)

    prompt = ask.assemble(request("Why?"), head=ask.head(system, len), max_prompt_tokens=fits, count=len)
    with pytest.raises(PromptTooLong) as caught:
        ask.assemble(request("Why?"), head=ask.head(system, len), max_prompt_tokens=fits - 1, count=len)

    assert prompt.tokens == fits
    assert caught.value.param == "question"


@given(HISTORIES, st.text(max_size=20), st.integers(60, 400))
def test_a_prompt_costs_what_its_messages_cost_and_never_more_than_allowed(history, system, budget):
    prompt = ask.assemble(request("Why?", history), head=ask.head(system, len), max_prompt_tokens=budget, count=len)

    assert prompt.tokens == 3 + sum(ask.count_message(message, len) for message in prompt.messages)
    assert prompt.tokens <= budget


def test_no_text_is_counted_twice():
    seen = []

    def count(text):
        seen.append(text)
        return len(text)

    ask.assemble(
        request("Why?", [Message("user", "Hi")]), head=ask.head("Be kind.", count), max_prompt_tokens=100, count=count
    )

    assert sorted(text for text in seen if text not in ask.ROLES) == ["Be kind.", "Hi", "Why?"]


def test_a_system_prompt_is_filled_in_by_plain_replacement():
    template = "{model} at {now}, {today}: {now}, {{model}}, {other} {0} {"

    assert ask.fill_system_prompt(template, model="m", today="t", now="n") == "m at n, t: n, {m}, {other} {0} {"


PROMPT = Prompt((Message("system", "Be kind."), Message("user", 'Why "é😀"?')), 20)


def test_the_request_to_the_upstream_is_compact_and_does_not_name_the_caller():
    data = ask.upstream_body(
        PROMPT, model="gpt-4o-mini", params={"temperature": 0.6}, stream=False, max_completion_tokens=100
    )

    assert json.loads(data) == {
        "temperature": 0.6,
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": 'Why "é😀"?'}],
        "n": 1,
        "max_completion_tokens": 100,
    }
    assert b'{"temperature":0.6,"model":"gpt-4o-mini","messages":[{"role":"system","content":"Be kind."},' in data


def test_a_stream_is_asked_for_with_its_usage():
    whole = ask.upstream_body(PROMPT, model="m", params={}, stream=False, max_completion_tokens=1)
    stream = ask.upstream_body(PROMPT, model="m", params={}, stream=True, max_completion_tokens=1)

    added = {"stream": True, "stream_options": {"include_usage": True}}
    assert json.loads(stream) == json.loads(whole) | added


@pytest.mark.parametrize("odd", ["\ud800", 2**70])
def test_a_parameter_that_is_json_is_sent_however_odd_it_is(odd):
    data = ask.upstream_body(PROMPT, model="m", params={"odd": odd}, stream=False, max_completion_tokens=1)

    assert json.loads(data)["odd"] == odd


def test_parameters_do_not_change_the_cost():
    params = {"n": 5, "model": "dear", "messages": [], "max_completion_tokens": 10**6, "stream": 0, "stream_options": 0}

    with_params = ask.upstream_body(PROMPT, model="m", params=params, stream=True, max_completion_tokens=1)

    without = ask.upstream_body(PROMPT, model="m", params={}, stream=True, max_completion_tokens=1)
    assert json.loads(with_params) == json.loads(without)
