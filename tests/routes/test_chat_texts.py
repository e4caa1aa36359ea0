"""In which fields generated text is known, and what else says nothing about text."""

import json
from typing import Any

import pytest

from gptdock.routes.chat_answers import FORMAT
from gptdock.routes.chat_texts import text_of, unknown_text_of
from gptdock.upstream.meter import Meter
from gptdock.upstream.usage import Usage
from tests.harness.chunks import chunk, event, read, usage_chunk

FUNCTION = {"name": "f", "arguments": '{"a":1}'}
MESSAGES: list[tuple[Any, str]] = [
    ({"content": "Hi"}, "Hi"),
    ({"content": None, "refusal": "No"}, "No"),
    ({"reasoning_content": "Hm", "content": "Hi"}, "HiHm"),
    ({"reasoning": "Hm"}, "Hm"),
    ({"reasoning": "Hm", "reasoning_content": "Hm"}, "Hm"),
    ({"reasoning_content": "", "reasoning": "Hm"}, "Hm"),
    ({"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}, "Hm"),
    ({"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm"}]}, "Hm"),
    ({"thinking_blocks": [{"type": "thinking", "thinking": "Hm", "signature": "x"}]}, "Hm"),
    ({"function_call": FUNCTION}, 'f{"a":1}'),
    ({"tool_calls": [{"index": 0, "id": "call", "type": "function", "function": FUNCTION}]}, 'f{"a":1}'),
    ({"tool_calls": [{"function": {"name": "f"}}, {"function": {"arguments": "{}"}}]}, "f{}"),
    ({"tool_calls": [{"custom": {"name": "f", "input": "x"}}]}, "fx"),
    ({"tool_calls": [{"function": None, "custom": {"name": "f"}}]}, "f"),
    ({"tool_calls": {"function": {"name": "f"}}}, "f"),
    ({"tool_calls": [{"function": {"name": "f", "arguments": {"a": "b"}}}]}, 'f{"a": "b"}'),
    ({"tool_calls": {"0": {"function": FUNCTION}, "1": {"function": {"name": "g"}}}}, 'f{"a":1}g'),
    ({"tool_calls": [FUNCTION, {"function": [FUNCTION]}]}, 'f{"a":1}f{"a":1}'),
    ({"tool_calls": [{"function": {"name": "f", "parameters": {"a": "Köln"}}}]}, 'f{"a": "Köln"}'),
    ({"tool_calls": [{"custom": {"name": {"is": "f"}, "input": ["a", 2]}}]}, 'f["a", 2]'),
    ({"function_call": {"name": "f", "arguments": 1234567}}, "f1234567"),
    ({"content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}, "?"]}, "Hi!?"),
    ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}, "Hm"),
    ({"content": {"type": "text", "text": "Hi"}}, "Hi"),
    ({"audio": {"id": "a", "transcript": "Hi", "data": "UklGRg=="}}, "Hi"),
]


def each(name: str, *values: Any) -> list[Any]:
    return [{name: value} for value in values]


SILENT_MESSAGES: list[Any] = [
    *[None, {}, [], 7, True],
    *each("content", "", None, 7, 0.5, True, [], {}, [7, None, []], [{"type": "text"}], {"a": 7}),
    *each("tool_calls", None, [], {}, 7, [None], [7], [{}], [{"type": "x"}]),
    *each("tool_calls", *([call] for call in each("function", None, [], {}, 7, {"name": None, "arguments": None}))),
    *each("function_call", None, 7, [], *each("name", 7, [], {}, False), *each("arguments", [], {}, False)),
    *each("reasoning", None, "", 7, {}, [{"type": "reasoning.encrypted", "data": "eNqrVg"}]),
    *each("audio", None, 7, "a", {"id": "a", "expires_at": 7}, {"transcript": None}),
    {"role": "assistant", "name": "x", "annotations": ["x"], "unknown": {"content": None}},
]
SILENT: list[Any] = [
    *each("choices", *([{"delta": message}] for message in SILENT_MESSAGES)),
    *each("choices", None, [], {}, 7, True, [7], [None], [[]], [{}], {"a": 1}),
    {"choices": [{"index": 0, "finish_reason": "stop", "content_filter_results": {"hate": {"filtered": False}}}]},
    {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
    {"choices": [{"delta": {}, "logprobs": {"content": [{"token": "Hi"}]}}], "obfuscation": "x7Jq"},
    {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": [],
    },
    {"service_tier": "default", "provider": "x", "citations": ["x"], "x_groq": {"id": "x"}, "choices": []},
    *[{}, {"type": "ping"}, {"unknown": 7}, {"usage": None}, {"error": None}, {"error": ""}, {"status": "processing"}],
    *[[], None, 7, "ping", True, ["heartbeat"]],
]
UNKNOWN: list[Any] = [
    *each("choices", *([{"delta": each}] for each in ("Hi", ["Hi"], {"foo": "Hi"}, {"foo": {"bar": [{"x": "Hi"}]}}))),
    *each("choices", *([{"message": each}] for each in ("Hi", {"foo": "Hi", "content": None}))),
    *each("choices", *([{"delta": {"content": each}}] for each in ({"a": "Hi"}, [{"type": "odd", "value": "Hi"}]))),
    *each("choices", *([{"delta": {"tool_calls": each}}] for each in ("Hi", ["Hi"], [{"function": "Hi"}]))),
    *each("choices", [{"delta": {"function_call": "Hi"}}], "Hi", ["Hi"], [{"foo": "Hi"}], {"foo": "Hi"}),
    *[{"delta": "Hi"}, {"unknown": "Hi"}, {"text": "Hi"}, {"output": {"text": "Hi"}}, {"choices": None, "text": "Hi"}],
    {"type": "response.output_text.delta", "delta": "Hi"},
    {"candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": None}]},
    *["Hi", ["Hi"], [[{"a": "Hi"}]]],
]


ODD_CALLS: list[Any] = [[{"id": "c", "type": "function", "function": "look"}], "look", ["look"], {"0": "look"}]
ODD_CALLS += [[{"custom": "look"}], [{"function": {"name": None, "other": "look"}}], [{"other": {"more": ["look"]}}]]


@pytest.mark.parametrize("part", ["delta", "message"])
@pytest.mark.parametrize(("message", "text"), MESSAGES)
def test_text_is_known_in_these_fields(part, message, text):
    assert text_of({"choices": [{"index": 0, part: message, "finish_reason": None}]}) == text


def test_text_is_known_in_the_older_completions():
    assert text_of({"choices": [{"text": "Hi", "index": 0}]}) == "Hi"


def test_a_message_that_repeats_its_delta_counts_once():
    assert text_of({"choices": [{"delta": {"content": "Hi"}, "message": {"content": "Hi"}}]}) == "Hi"
    assert text_of({"choices": [{"delta": {"role": "assistant"}, "message": {"content": "Hi"}}]}) == "Hi"


@pytest.mark.parametrize("answer", SILENT, ids=json.dumps)
def test_all_other_json_says_nothing_about_text(answer):
    before, _ = read(chunk("Hi"), usage_chunk())

    before.read(event(answer))

    assert (before.text(), before.usage, before.error) == ("Hi", Usage(7, 5, 2), None)
    assert before.final_usage == Usage(7, 5, 2)
    assert (text_of(answer), unknown_text_of(answer, "")) == ("", "")


@pytest.mark.parametrize("answer", UNKNOWN, ids=json.dumps)
def test_what_may_be_text_elsewhere_counts_but_leaves_the_usage(answer):
    reader, shown = read(chunk(""), usage_chunk(), answer)

    assert (reader.text(), shown[-1], reader.usage, reader.has_text) == ("Hi", True, Usage(7, 5, 2), False)
    assert reader.final_usage is None
    reader.read(event(b"[DONE]"))
    assert reader.final_usage == Usage(7, 5, 2)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"delta": {"content": "Hi", "foo": " you"}}, " you"),
        ({"delta": {"content": "Hi"}, "foo": " you", "logprobs": {"content": [{"token": "Hi"}]}}, " you"),
        ({"delta": {"content": "Hi", "parts": ["Hi", {"type": "reasoning.encrypted", "data": "x"}]}}, ""),
        ({"delta": {"content": "Hi"}, "message": {"content": "Hi you"}}, ""),
        ({"delta": {"content": "Hi", "extra_content": {"google": {"thought_signature": "x"}}}}, ""),
        ({"delta": {"reasoning": "Hi", "reasoning_content": "Hi"}}, ""),
        *[({"delta": {"content": "Hi", "tool_calls": each}}, "look") for each in ODD_CALLS],
        ({"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}, *ODD_CALLS[0]]}}, "look"),
        ({"delta": {"content": "Hi", "function_call": "look"}}, "look"),
        ({"delta": {"content": [{"text": "Hi"}, {"type": "odd", "value": "look"}]}}, "look"),
        ({"delta": {"content": "Hi", "refusal": {"words": "look"}, "reasoning": {"steps": ["look"]}}}, "looklook"),
    ],
)
def test_beside_text_only_other_strings_of_its_choice_may_be_text(choice, text):
    answer = {"choices": [choice], "citations": ["x"], "other": "x"}

    assert unknown_text_of(answer, text_of(answer)) == text


@pytest.mark.parametrize("answer", SILENT, ids=json.dumps)
def test_an_event_without_text_is_shown_and_no_text_was_seen(answer):
    reader, [shown] = read(answer)

    assert shown
    assert not reader.has_text


@pytest.mark.parametrize(
    ("delta", "thinks"),
    [
        ({"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.summary", "summary": "Hm"}]}, True),
        ({"content": "", "reasoning_details": {"type": "reasoning.summary", "summary": "Hm"}}, True),
        ({"content": "Hi", "reasoning_details": [{"type": "reasoning.summary", "summary": "Hm"}]}, False),
        ({"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}, False),
        ({"reasoning_details": ["Hm"]}, False),
        ({"role": "assistant"}, False),
    ],
)
def test_a_summary_of_thoughts_does_not_end_them(delta: dict[str, Any], thinks: bool):
    reader, _ = read(chunk("Hi"), {"choices": [{"index": 0, "delta": delta}]}, chunk("Hi"), chunk("Hi"))

    assert not reader.thinks
    reader.read(event({"choices": [{"index": 0, "delta": delta}]}))
    assert reader.thinks is thinks


@pytest.mark.parametrize("depth", [10, 500, 100_000])
def test_parts_within_parts_end_somewhere(depth):
    raw = b'{"choices":[{"delta":{"content":' + b"[" * depth + b'"Hi"' + b"]" * depth + b"}}]}"
    reader = Meter(FORMAT)

    reader.read(event(raw))

    assert len(reader.text()) in (len("Hi"), len(raw))


def test_a_message_beside_an_empty_delta_counts_whatever_came_before():
    events = [{"choices": [{"delta": {"content": text}, "message": {"content": ["!"]}}]} for text in ("Hi", "")]

    reader, _ = read(*(json.dumps(each, separators=(",", ":")).encode() for each in events))

    assert reader.text() == "Hi!"


def test_beside_choices_without_text_any_string_may_be_text():
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant"}}], "output": "look"}

    assert unknown_text_of(chunk, "") == "look"
