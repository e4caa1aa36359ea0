import itertools
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.ledger import charges
from gptdock.ledger.charges import Charge
from gptdock.upstream import meter
from gptdock.upstream.meter import Meter, Usage
from gptdock.upstream.sse import Event, EventSplitter
from tests.harness import properties

DATA = Path(__file__).parents[1] / "data"
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
ODD_USAGES = [
    {},
    "many",
    7,
    [],
    True,
    {"total_tokens": None},
    {"total_tokens": -1},
    {"total_tokens": "7"},
    {"total_tokens": 7.0},
    {"total_tokens": True},
    {"total_tokens": 10**9 + 1},
    {"prompt_tokens": 5, "completion_tokens": 2},
]


def event(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Event(b"data: " + data + b"\n\n", data)


def chunk(content=None, /, **delta):
    delta |= {} if content is None else {"content": content}
    return {"id": "c-1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def usage_chunk(usage=USAGE):
    return {"id": "c-1", "choices": [], "usage": usage}


def read(*datas, show_usage=False):
    """A meter that has read `datas`, and what it showed of each."""
    reader = Meter(show_usage=show_usage)
    return reader, [reader.read(event(data)) for data in datas]


# ------------------------------------------------------------------------------------------------------ what is shown


def test_all_of_a_recorded_stream_is_shown():
    events = EventSplitter().feed((DATA / "ask_stream.sse").read_bytes())
    reader = Meter()

    shown = [reader.read(event) for event in events]

    assert all(shown)
    assert reader.done
    assert reader.has_text
    assert (reader.usage, reader.odd_usage, reader.error) == (None, False, None)
    assert reader.text().startswith("Hello! I am G")
    assert reader.text().endswith(" you.")


def test_a_comment_is_not_shown():
    assert not Meter().read(Event(b": keep-alive\n\n", None))


@pytest.mark.parametrize("done", [b"[DONE]", b" [DONE] "])
def test_nothing_follows_done(done):
    reader, shown = read(chunk("Hi"), done, chunk(" there"), usage_chunk(), done)

    assert shown == [True, True, False, False, False]
    assert (reader.done, reader.text(), reader.usage) == (True, "Hi", None)


def test_a_stream_is_not_done_because_its_text_says_so():
    reader, _ = read(chunk("[DONE]"), b'"[DONE]"', b"[DONE")

    assert not reader.done


@pytest.mark.parametrize("show_usage", [False, True])
@pytest.mark.parametrize("choices", [{"choices": []}, {"choices": None}, {}])
def test_the_usage_chunk_is_shown_to_whom_asked_for_it(show_usage, choices):
    reader, shown = read(chunk("Hi"), choices | {"usage": USAGE}, b"[DONE]", show_usage=show_usage)

    assert shown == [True, show_usage, True]
    assert (reader.usage, reader.text()) == (Usage(7, 5, 2), "Hi")


@pytest.mark.parametrize(
    "data",
    [
        {"choices": []},
        {"choices": [], "usage": None, "prompt_filter_results": []},
        {"choices": [], "error": None},
        chunk(),
        chunk(None, content=None, refusal=None),
        chunk("Hi") | {"usage": USAGE},
        chunk(None, tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{"}}]),
        {"unknown": True},
        [],
        7,
        b"not JSON",
        b"",
    ],
)
@pytest.mark.parametrize("before", [[], [chunk("Hi")]])
def test_whatever_else_comes_is_shown(data, before):
    _, shown = read(*before, data)

    assert shown[-1]


@pytest.mark.parametrize("before", [[], [chunk("Hi")], [usage_chunk()]])
@pytest.mark.parametrize(
    ("error", "noted"), [({"message": "Oh"}, {"message": "Oh"}), ("Oh", {"message": "Oh"}), ({}, {})]
)
def test_an_upstream_s_error_is_noted_and_not_shown(before, error, noted):
    reader, shown = read(*before, {"error": error})

    assert not shown[-1]
    assert reader.error == noted
    assert not reader.done


def test_an_error_leaves_the_usage_alone_and_is_no_text():
    reader, _ = read(chunk("Hi"), usage_chunk(), {"error": {"message": "Oh"}})

    assert (reader.usage, reader.text()) == (Usage(7, 5, 2), "Hi")


def test_a_text_about_errors_or_usage_is_only_text():
    text = '{"error": {"message": "Oh"}, "usage": {"total_tokens": 1}, "error"'

    reader, shown = read(chunk("Hi "), chunk(text), chunk("error"), chunk("usage"))

    assert shown == [True] * 4
    assert (reader.error, reader.usage, reader.odd_usage) == (None, None, False)
    assert reader.text() == f"Hi {text}errorusage"


# ------------------------------------------------------------------------------------------------------ what was used


@pytest.mark.parametrize("before", [[], [chunk("Hi")]])
@pytest.mark.parametrize("spacing", [(",", ":"), (", ", ": "), (" ,\n", " :\n\t ")])
def test_usage_is_found_however_it_is_spaced(before, spacing):
    reader, _ = read(*before, json.dumps(usage_chunk(), separators=spacing).encode())

    assert reader.usage == Usage(7, 5, 2)


@pytest.mark.parametrize("usage", ODD_USAGES)
@pytest.mark.parametrize("before", [[], [chunk("Hi")]])
def test_a_usage_that_cannot_be_believed_is_marked_and_not_used(before, usage):
    reader, shown = read(*before, usage_chunk(usage), b"[DONE]")

    assert (reader.usage, reader.odd_usage) == (None, True)
    assert shown == [True for _ in before] + [False, True]


@pytest.mark.parametrize("null", [chunk("Hi") | {"usage": None}, usage_chunk(None)])
def test_no_usage_is_nothing_odd(null):
    reader, shown = read(chunk("Hi"), null, chunk("Hi"))

    assert (reader.usage, reader.odd_usage, shown) == (None, False, [True] * 3)


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        (USAGE, Usage(7, 5, 2)),
        ({"total_tokens": 0}, Usage(0, 0, 0)),
        ({"total_tokens": 10**9}, Usage(10**9, 0, 0)),
        ({"total_tokens": 7, "prompt_tokens": "5", "completion_tokens": -2}, Usage(7, 0, 0)),
        ({"total_tokens": 7, "prompt_tokens": True, "completion_tokens": 10**10}, Usage(7, 0, 0)),
        ({"total_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 1}}, Usage(7, 0, 0)),
        (None, None),
        *((odd, None) for odd in ODD_USAGES),
    ],
)
def test_usage_is_sane_if_its_total_is(value, usage):
    assert meter.sane_usage(value) == usage


def test_an_explicit_zero_is_a_usage():
    reader, _ = read(usage_chunk({"total_tokens": 0}))

    assert reader.usage == Usage(0, 0, 0)


def test_of_several_usages_the_last_sane_one_counts():
    first, _ = read(chunk("Hi"), usage_chunk({"total_tokens": 3}), usage_chunk(), usage_chunk("odd"))
    second, _ = read(chunk("Hi"), usage_chunk("odd"), usage_chunk())

    assert (first.usage, first.odd_usage) == (Usage(7, 5, 2), True)
    assert (second.usage, second.odd_usage) == (Usage(7, 5, 2), True)


def test_an_answer_is_not_free_for_who_leaves_before_the_usage_chunk():
    reader, _ = read(chunk("", role="assistant"), chunk("Hi"), chunk(" there"), chunk())

    assert (reader.usage, reader.text()) == (None, "Hi there")


def test_usage_is_stale_once_more_text_came():
    reader, _ = read(chunk("Hi") | {"usage": {"total_tokens": 1}}, chunk(" there"))

    assert (reader.usage, reader.text()) == (None, "Hi there")


@pytest.mark.parametrize("odd", [b"more text", chunk(" there") | {"usage": "odd"}])
def test_usage_is_stale_also_after_text_that_is_odd(odd):
    reader, _ = read(chunk("Hi") | {"usage": {"total_tokens": 1}}, odd)

    assert reader.usage is None


def test_usage_is_not_stale_because_of_a_chunk_without_text():
    reader, _ = read(chunk("Hi"), usage_chunk(), chunk(), chunk(""), b"", {"choices": []})

    assert reader.usage == Usage(7, 5, 2)


def test_usage_that_comes_with_text_includes_it():
    reader, shown = read(chunk("Hi") | {"usage": {"total_tokens": 1}}, chunk(" there") | {"usage": USAGE})

    assert (reader.usage, shown) == (Usage(7, 5, 2), [True, True])


# ---------------------------------------------------------------------------------------------------------- the text

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
def test_what_cannot_be_understood_counts_as_text(data, before):
    reader, shown = read(*before, data)

    assert shown[-1]
    assert reader.has_text
    assert reader.text().removeprefix("Hi" if before else "") == event(data).data.decode("utf-8", "replace")


def test_broken_utf_8_does_not_hide_the_rest():
    reader, _ = read(b'{"choices": [{"delta": {"content": "a\xffb"}}], "usage": {"total_tokens": 7}}')

    assert (reader.text(), reader.usage) == ("a\ufffdb", Usage(7, 0, 0))


@pytest.mark.parametrize("field", [b"", b'"usage":null,', b'"usage" : null ,', b'"logprobs":"usage",'])
def test_an_event_is_parsed_only_if_it_can_tell_something(field):
    """Parsing is nine tenths of the work; an escaped key, which no upstream writes, shows that there was none."""
    reader, shown = read(chunk("Hi"), b"{" + field + b'"err\\u006fr": {"message": "Oh"}}')

    assert (reader.error, shown) == (None, [True, True])


def test_text_is_seen_once_there_is_some():
    reader = Meter()

    seen = []
    for data in (chunk("", role="assistant"), chunk(), usage_chunk(None), chunk("Hi"), chunk()):
        reader.read(event(data))
        seen.append(reader.has_text)

    assert seen == [False, False, False, True, True]


def test_text_may_be_asked_for_at_any_time():
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


WORDS = [
    "[DONE]",
    '{"choices":[{"delta":{"content":"x"}}]}',
    '{"choices":[],"usage":{"total_tokens":7}}',
    '{"error":',
    "}",
]
LINES = st.lists(st.binary(max_size=20) | st.sampled_from(WORDS).map(str.encode), max_size=6)


@given(LINES, st.lists(st.integers(0, 30)), st.booleans())
def test_no_bytes_make_it_fail(lines, sizes, show_usage):
    stream = b"".join(b"data: " + line + b"\n\n" for line in lines)

    properties.meters_without_fail(stream, sizes, show_usage=show_usage)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "message", "content", "tool_calls", "function", "usage", "error"]),
            inner,
        )
    ),
)


@given(JSON, JSON, JSON, JSON)
def test_no_shape_makes_it_fail(first, choices, delta, usage):
    shapes = [first, {"choices": choices}, {"choices": [{"delta": delta, "message": delta}], "usage": usage}]
    stream = b"".join(event(shape).raw for shape in [*shapes, {"error": first}])

    properties.meters_without_fail(stream, [], show_usage=False)


# ------------------------------------------------------------------------------------------------------ whole answers


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
    """What json reads in one frame may be too deep for what walks through it in the next."""
    for depth in range(2, sys.getrecursionlimit()):
        raw = b'{"choices": ' + b"[" * depth + b"]" * depth + b"}"
        try:
            answer = json.loads(raw)
        except RecursionError:
            break
        reader = Meter()
        reader.read_answer(answer, raw)
        assert reader.text() == raw.decode()


# -------------------------------------------------------------------------------------------------------- the charges


def test_an_exact_charge_is_what_the_upstream_says():
    assert charges.exact(*Usage(7, 5, 2)) == Charge(7, 5, 2, "upstream")


@pytest.mark.parametrize(
    ("prompt", "completion", "hold", "charge"),
    [
        (10, 5, 100, Charge(15, 10, 5, "counted")),
        (10, 5, 15, Charge(15, 10, 5, "counted")),
        (10, 5, 12, Charge(12, 10, 2, "counted")),
        (10, 5, 7, Charge(7, 7, 0, "counted")),
        (10, 0, 100, Charge(10, 10, 0, "counted")),
    ],
)
def test_a_counted_charge_is_at_most_the_hold_and_its_parts_sum_to_it(prompt, completion, hold, charge):
    assert charges.counted(prompt, completion, hold) == charge


@pytest.mark.parametrize(
    ("model", "may"),
    [
        ("gpt-4o-mini", False),
        ("gpt-4.1", False),
        ("gpt-3.5-turbo-0125", False),
        ("chatgpt-4o-latest", False),
        ("openai/gpt-4o", False),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", False),
        ("o1", True),
        ("o4-mini", True),
        ("gpt-5-nano", True),
        ("a-model-of-tomorrow", True),
        ("ft:o4-mini-2025-04-16:gpt-4-team::x", True),
        ("my-gpt-4-successor", True),
    ],
)
def test_a_model_may_think_unless_it_is_known_not_to(model, may):
    assert charges.may_think(model) is may


@pytest.mark.parametrize(("seconds", "tokens"), [(0, 0), (0.001, 1), (1, 200), (1.0001, 201), (2.5, 500)])
def test_what_is_unseen_is_two_hundred_tokens_a_second_rounded_up(seconds, tokens):
    assert charges.unseen_tokens(seconds) == tokens


@pytest.mark.parametrize(
    ("data", "good"),
    [
        (b"[DONE]", True),
        (b'{"choices":[]}', True),
        (b'{"error":{}}', True),
        (None, False),
        (b"", False),
        (b"<html>", False),
        (b"[]", False),
        (b'"text"', False),
        (b"null", False),
        (b'{"choices":', False),
        (b"[" * 100_000, False),
    ],
)
def test_an_event_of_a_completion_stream_is_done_or_an_object(data, good):
    assert meter.is_chunk(data) == good
