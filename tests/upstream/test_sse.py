"""How bytes become events, however they are split."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptdock.upstream.sse import Event, EventSplitter, EventTooLarge
from tests.harness import properties
from tests.harness.properties import datas, split
from tests.harness.references import BOM, dispatched

STREAM = (Path(__file__).parents[1] / "data" / "ask_stream.sse").read_bytes()
# Streams are made of what matters to the grammar, so that even short ones have odd neighbours.
PIECES = [b"\r", b"\n", b"\r\n", b"data: x\n", b"data: x\n\n", b"data", b"data:", b":", b" ", b"a", b"id", b"\0", BOM]
PARTS = st.lists(st.sampled_from([*PIECES, "\u2028".encode()]), max_size=30)
STREAMS = PARTS.map(b"".join)
SIZES = st.lists(st.integers(0, 5))


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_events_survive_any_chunking(size):
    splitter = EventSplitter()

    pieces = (STREAM[i : i + size] for i in range(0, len(STREAM), size))
    events = [event for data in pieces for event in splitter.feed(data)]

    assert b"".join(event.raw for event in events) == STREAM


@settings(max_examples=500)
@given(STREAMS, SIZES)
def test_any_stream_cut_anywhere_is_read_as_the_specification_says(stream, sizes):
    properties.splits_as_specified(stream, sizes)


@settings(max_examples=500)
@given(PARTS)
def test_any_parts_are_read_like_the_whole(parts):
    splitter = EventSplitter()

    events = [event for data in parts for event in splitter.feed(data)]

    assert datas(events) == dispatched(b"".join(parts))


@given(STREAMS, SIZES, st.integers(0, 20))
def test_a_limit_is_for_what_is_pending_and_changes_nothing_else(stream, sizes, limit):
    properties.limits_what_is_pending(stream, sizes, limit)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r", b"\r\n\n", b"\n\r\n", b"\r\r\n", b"\r\n\r"])
def test_every_pair_of_line_ends_ends_an_event(end):
    assert datas(split(b"data: x" + end)) == [b"x"]


def test_an_event_does_not_wait_for_the_line_feed_after_its_carriage_return():
    splitter = EventSplitter()

    first = splitter.feed(b"data: x\r\n\r")
    second = splitter.feed(b"\ndata: y\n\n")

    assert first == [Event(b"data: x\n\n", b"x")]
    assert second == [Event(b"data: y\n\n", b"y")]


def test_a_carriage_return_and_its_line_feed_are_one_line_end_also_when_cut():
    stream = b"data: x\r\ndata: y\r\n\r\n"

    assert split(stream, [8]) == [Event(b"data: x y\n\n", b"x\ny")]


@pytest.mark.parametrize("sizes", [[], [1, 1, 1, 1]])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\r"])
def test_a_byte_order_mark_at_the_start_is_dropped(sizes, end):
    stream = BOM + b"data: x" + end

    events = split(stream, sizes)

    assert events == [Event(b"data: x\n\n", b"x")]


def test_a_byte_order_mark_is_one_at_the_start_only():
    assert datas(split(b"data: x\n\n" + BOM + b"data: y\n\n")) == [b"x"]
    assert datas(split(b"data: x\n\n" + BOM + b"data: y\n\n", [9])) == [b"x"]
    assert datas(split(b"\r\r" + BOM + b"data: y\n\n", [2])) == []


@pytest.mark.parametrize(
    ("block", "data"),
    [
        (b": keep-alive", None),
        (b"event: ping", None),
        (b"database: x", None),
        (b" data: x", None),
        (b"data : x", None),
        (b"data", b""),
        (b"data:", b""),
        (b"data:x", b"x"),
        (b"data:  x ", b" x "),
        (b"data: a\ndata: b", b"a\nb"),
        (b"data: a\n: comment\ndata:b", b"a\nb"),
        (b"data\ndata", b"\n"),
        (b"data: a\rdata: b", b"a\nb"),
        (b"id: 7\ndata: x\nevent: y", b"x"),
        ("data: a\u2028b\u0085c\x0bd\x0c".encode(), "a\u2028b\u0085c\x0bd\x0c".encode()),
    ],
)
def test_data_is_what_the_data_lines_say(block, data):
    assert datas(split(block + b"\n\n")) == ([] if data is None else [data])


JSON = b'{"a":1}'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "stream",
    [
        b"data: {}\n\n",
        b"data:{}\n\n",
        b"data:  {}\n\n",
        b"data: {} \n\n",
        b"data:\t{}\n\n",
        b"data: {}\r\r",
        b"data: {}\r\n\r\n",
        b"data: {}\r\n\n",
        b"\n\r\ndata: {}\n\n",
        BOM + b"data: {}\n\n",
        BOM + b"data:{}\r\n\r\n",
        b": ping\n\ndata: {}\n\n",
        b": ping\ndata: {}\n\n",
        b"event: message\ndata: {}\n\n",
        b"data: {}\nid: 7\nretry: 100\n\n",
        b"event: ping\n\nid: 7\n\nretry: 100\n\ndata: {}\n\n",
        b"data: {\ndata: }\n\n",
        b"data: {\rdata:}\r\r",
        b"data\ndata: {}\ndata\n\n",
    ],
)
def test_every_event_leaves_as_the_api_says(stream, size):
    sizes = [size] * len(stream)

    shown = b"".join(event.raw for event in split(stream + b"data: [DONE]\n\n", sizes))

    assert shown.replace(b" }", b"}").replace(b"} \n", b"}\n") == b"data: {}\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize("done", [b"data:[DONE]\n\n", b"data:  [DONE] \n\n", b"data: [DONE]\r\n\r\n"])
def test_the_end_leaves_as_the_api_says(done):
    assert [event.raw for event in split(done)] == [b"data: [DONE]\n\n"]


def test_a_plain_event_is_the_same_bytes():
    stream = b"data: " + JSON + b"\n\n"

    [event] = split(stream)

    assert event.raw is stream


def test_the_usual_shape_is_told_from_what_only_begins_like_it():
    assert split(b"data: {\rdata: }\n\n") == [Event(b"data: { }\n\n", b"{\n}")]
    assert split(b"data: {}\r\rdata: {}\n\n") == [Event(b"data: {}\n\n", b"{}")] * 2
    assert split(b"data: {\n}") == []
    assert split(b"data: {}\n") == []
    assert split(b"data: {\ndata: }\n\n", [8]) == [Event(b"data: { }\n\n", b"{\n}")]
    assert datas(split(b"data: {}\n\ndata: {\ndata: }\n\n")) == [b"{}", b"{\n}"]


def test_an_event_without_end_is_refused_beyond_the_limit():
    splitter = EventSplitter(limit=100)

    splitter.feed(b"x" * 100)
    with pytest.raises(EventTooLarge):
        splitter.feed(b"x")


def test_the_limit_is_for_one_event_not_for_the_stream():
    splitter = EventSplitter(limit=100)

    events = [event for _ in range(50) for data in (b"data: " + b"x" * 60, b"\n\n") for event in splitter.feed(data)]

    assert len(events) == 50


@pytest.mark.parametrize("filling", [b"x", b"a\n", b"a\r"])
def test_a_long_line_that_comes_byte_by_byte_takes_linear_time(filling):
    """A splitter that scans the same bytes again would take minutes."""
    stream = b"data: " + filling * (300_000 // len(filling)) + b"\n\n"
    splitter = EventSplitter()

    events = [event for value in stream for event in splitter.feed(bytes((value,)))]

    assert len(events) == 1


@pytest.mark.parametrize("event", [b"data:\n\n", b"data:\r\r", b"\n\n"])
def test_many_tiny_events_may_come_at_once(event):
    assert len(split(event * 200_000)) == 200_000


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_one_line_of_json_is_passed_on_with_its_spaces_whatever_ends_it(line_end: bytes):
    [event] = EventSplitter().feed(b'data: {"a":1}  ' + line_end * 2)

    assert event.raw == b'data: {"a":1}  \n\n'
