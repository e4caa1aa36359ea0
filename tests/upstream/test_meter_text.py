"""What of an answer counts as generated text."""

import itertools
import json
import sys
from pathlib import Path

import pytest

from gptdock.upstream import meter
from gptdock.upstream.meter import Meter, Usage
from tests.harness.chunks import chunk, event, read, usage_chunk

DATA = Path(__file__).parents[1] / "data"
MESSAGES = [
    ({"content": "Hi"}, "Hi"),
    ({"content": None, "refusal": "No"}, "No"),
    ({"reasoning_content": "Hm", "content": "Hi"}, "HiHm"),
    ({"reasoning": "Hm"}, "Hm"),
    ({"reasoning": "Hm", "reasoning_content": "Hm"}, "Hm"),
    ({"function_call": {"name": "f", "arguments": "{}"}}, "f{}"),
    ({"tool_calls": [{"function": {"name": "f"}}, {"function": {"arguments": "{}"}}]}, "f{}"),
    ({"tool_calls": [{"custom": {"name": "f", "input": "x"}}]}, "fx"),
    ({"tool_calls": None, "function_call": None}, ""),
    ({"role": "assistant", "annotations": ["x"]}, ""),
    (None, ""),
]
ODD_MESSAGES = [7, "Hi", ["Hi"], {"content": 7}, {"content": [{"text": "Hi"}]}, {"tool_calls": 7}]
ODD_MESSAGES += [{"tool_calls": ["f"]}, {"tool_calls": [{"type": "x"}]}, {"function_call": "f"}]


@pytest.mark.parametrize(("delta", "text"), MESSAGES)
def test_whatever_was_generated_is_text(delta, text):
    reader, _ = read({"choices": [{"delta": delta}]})

    assert reader.text() == text
    assert reader.has_text == bool(text)


def test_the_text_of_every_choice_counts():
    reader, _ = read({"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}, chunk("c"))

    assert reader.text() == "abc"


@pytest.mark.parametrize(
    "data",
    [
        *({"choices": [{"delta": delta}]} for delta in ODD_MESSAGES),
        *({"choices": choices} for choices in ["Hi", 7, {"a": 1}, [7], [None], [{"text": "Hi"}]]),
        {"delta": "Hi"},
        {"delta": "Hi", "usage": None},
        ["Hi"],
        "Hi",
        b"<p>Hi</p>",
        b'{"choices": [',
        b"[" * 100_000,
        b'{"choices": ' + b"9" * 5000 + b"}",
        "é".encode("latin-1"),
    ],
)
@pytest.mark.parametrize("before", [[], [chunk("Hi")]])
def test_an_event_that_cannot_be_understood_counts_as_text(data, before):
    reader, shown = read(*before, data)

    assert shown[-1]
    assert reader.has_text
    assert reader.text().removeprefix("Hi" if before else "") == event(data).data.decode("utf-8", "replace")


def test_broken_utf_8_does_not_hide_the_rest():
    reader, _ = read(b'{"choices": [{"delta": {"content": "a\xffb"}}], "usage": {"total_tokens": 7}}')

    assert (reader.text(), reader.usage) == ("a\ufffdb", Usage(7, 0, 0))


@pytest.mark.parametrize("field", [b"", b'"usage":null,', b'"usage" : null ,', b'"logprobs":"usage",'])
def test_an_event_is_parsed_only_if_it_can_tell_something(field):
    """Parsing is nine tenths of the work. An escaped key would be noted if this event were parsed."""
    reader, shown = read(chunk("Hi"), b"{" + field + b'"err\\u006fr": {"message": "Oh"}}')

    assert (reader.error, shown) == (None, [True, True])


def test_text_is_seen_once_there_is_some():
    reader = Meter()

    seen = []
    for data in (chunk("", role="assistant"), chunk(), usage_chunk(None), chunk("Hi"), chunk()):
        reader.read(event(data))
        seen.append(reader.has_text)

    assert seen == [False, False, False, True, True]


def test_text_can_be_read_at_any_time():
    reader, _ = read(chunk("Hi"))

    first = reader.text()
    reader.read(event(chunk(" there")))

    assert (first, reader.text(), reader.text()) == ("Hi", "Hi there", "Hi there")


def test_folding_keeps_the_text_and_bounds_the_memory():
    words = [f"word{number} " for number in range(3000)]
    reader = Meter()

    pending = []
    for word in words:
        reader.read(event(chunk(word)))
        pending.append(sum(map(len, reader._pending)))

    total = sum(len(event(chunk(word)).data) for word in words)
    folds = [after for before, after in itertools.pairwise(pending) if after <= before]
    assert max(pending) <= meter.FOLD_BYTES
    assert 1 < len(folds) <= total // meter.FOLD_BYTES
    assert reader.text() == "".join(words)


def test_a_recorded_answer_has_a_text_and_a_usage():
    raw = (DATA / "ask_response.json").read_bytes()
    answer = json.loads(raw)

    assert meter.text_of_answer(answer, raw) == answer["choices"][0]["message"]["content"]
    assert meter.sane_usage(answer["usage"]) == Usage(175, 118, 57)


@pytest.mark.parametrize(("message", "text"), MESSAGES)
def test_the_text_of_an_answer_is_whatever_was_generated(message, text):
    assert meter.text_of_answer({"choices": [{"message": message}]}, b"") == text


@pytest.mark.parametrize(
    "answer",
    [{}, {"choices": "é"}, {"choices": [{"text": "Hi"}], "usage": "odd"}]
    + [{"choices": [{"message": message}]} for message in ODD_MESSAGES],
)
def test_an_answer_that_cannot_be_understood_counts_as_a_whole(answer):
    raw = json.dumps(answer, ensure_ascii=False).encode()

    assert meter.text_of_answer(answer, raw) == raw.decode()


def test_an_answer_counts_as_a_whole_however_deep_it_is():
    """What `json` can still read may be nested too deeply for the function that walks through it."""
    for depth in range(2, sys.getrecursionlimit()):
        raw = b'{"choices": ' + b"[" * depth + b"]" * depth + b"}"
        try:
            answer = json.loads(raw)
        except RecursionError:
            break
        reader = Meter()
        reader.read_answer(answer, raw)
        assert reader.text() == raw.decode()
