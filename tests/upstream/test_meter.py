"""What of an answer the caller is to see."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.routes.chat_answers import FORMAT
from gptdock.upstream import meter
from gptdock.upstream.meter import Meter
from gptdock.upstream.sse import Event, EventSplitter
from gptdock.upstream.usage import Usage
from tests.harness import properties
from tests.harness.chunks import USAGE, chunk, event, read, usage_chunk

DATA = Path(__file__).parents[1] / "data"


def test_all_of_a_recorded_stream_is_shown():
    events = EventSplitter().feed((DATA / "ask_stream.sse").read_bytes())
    reader = Meter(FORMAT)

    shown = [reader.read(each) for each in events]

    assert all(shown)
    assert reader.done
    assert reader.has_text
    assert (reader.usage, reader.odd_usage, reader.error) == (None, False, None)
    assert reader.text().startswith("Hello! I am G")
    assert reader.text().endswith(" you.")


def test_a_comment_is_not_shown():
    assert not Meter(FORMAT).read(Event(b": keep-alive\n\n", None))


@pytest.mark.parametrize("data", [b"", b" ", b" \n"])
def test_an_event_of_nothing_is_not_shown(data):
    reader, shown = read(data)

    assert (shown, reader.has_text) == ([False], False)


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
def test_the_usage_chunk_is_shown_only_if_it_was_asked_for(show_usage, choices):
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
    ],
)
@pytest.mark.parametrize("before", [[], [chunk("Hi")]])
def test_any_other_event_is_shown(data, before):
    _, shown = read(*before, data)

    assert shown[-1]


@pytest.mark.parametrize("before", [[], [chunk("Hi")], [usage_chunk()]])
@pytest.mark.parametrize(
    ("told", "noted"),
    [
        ({"error": {"message": "Oh"}}, {"message": "Oh"}),
        ({"error": "Oh"}, {"message": "Oh"}),
        ({"error": {}}, {}),
        ({"error": ["Oh"]}, {"message": "['Oh']"}),
        ({"error": {"code": 502}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}, {"code": 502}),
        ({"type": "error", "error": {"type": "overloaded_error"}}, {"type": "overloaded_error"}),
        ({"object": "error", "message": "Oh"}, {"object": "error", "message": "Oh"}),
        ({"type": "error", "message": "Oh"}, {"type": "error", "message": "Oh"}),
    ],
)
def test_an_upstream_s_error_is_noted_and_not_shown(before, told, noted):
    reader, shown = read(*before, told)

    assert not shown[-1]
    assert reader.error == noted
    assert not reader.done


def test_an_error_is_not_text_and_leaves_the_usage_alone():
    reader, _ = read(chunk("Hi"), usage_chunk(), {"error": {"message": "Oh"}})

    assert (reader.usage, reader.text()) == (Usage(7, 5, 2), "Hi")


@pytest.mark.parametrize("nothing", [None, "", False, 0, []])
def test_an_error_of_nothing_is_none(nothing):
    reader, shown = read(chunk("Hi") | {"error": nothing})

    assert (reader.error, shown, reader.text()) == (None, [True], "Hi")


def test_text_that_comes_with_an_error_counts():
    reader, shown = read(chunk("Hi") | {"error": {"message": "Oh"}})

    assert (shown, reader.text()) == ([False], "Hi")


def test_a_text_about_errors_or_usage_is_only_text():
    text = '{"error": {"message": "Oh"}, "usage": {"total_tokens": 1}, "error"'

    reader, shown = read(chunk("Hi "), chunk(text), chunk("error"), chunk("usage"))

    assert shown == [True] * 4
    assert (reader.error, reader.usage, reader.odd_usage) == (None, None, False)
    assert reader.text() == f"Hi {text}errorusage"


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
    assert meter.is_chunk(Event(b"", data)) == good


WORDS = [
    "[DONE]",
    '{"choices":[{"delta":{"content":"x"}}]}',
    '{"choices":[],"usage":{"total_tokens":7}}',
    '{"error":',
    "}",
]
LINES = st.lists(st.binary(max_size=20) | st.sampled_from(WORDS).map(str.encode), max_size=6)


@given(LINES, st.lists(st.integers(0, 30)), st.booleans())
def test_no_bytes_make_the_meter_fail(lines, sizes, show_usage):
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
def test_no_shape_makes_the_meter_fail(first, choices, delta, usage):
    shapes = [first, {"choices": choices}, {"choices": [{"delta": delta, "message": delta}], "usage": usage}]
    stream = b"".join(event(shape).raw for shape in [*shapes, {"error": first}])

    properties.meters_without_fail(stream, [], show_usage=False)


def test_nothing_of_an_event_is_kept_but_its_text():
    reader = Meter(FORMAT)
    tracemalloc.start()
    try:
        reader.read(event({**chunk("Hi"), "more": [7] * 2**16}))
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert reader.text() == "Hi"
    assert kept_bytes < 2**14
