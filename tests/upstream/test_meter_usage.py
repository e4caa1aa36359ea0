"""Which of the upstream's numbers are believed, and until when."""

import json

import pytest

from gptdock.routes.chat_answers import FORMAT
from gptdock.upstream.meter import Meter
from gptdock.upstream.usage import Usage
from tests.harness.chunks import ODD_USAGES, USAGE, chunk, read, usage_chunk


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
def test_a_missing_usage_is_not_odd(null):
    reader, shown = read(chunk("Hi"), null, chunk("Hi"))

    assert (reader.usage, reader.odd_usage, shown) == (None, False, [True] * 3)


def test_an_explicit_zero_is_a_usage():
    reader, _ = read(chunk(), usage_chunk({"total_tokens": 0}))

    assert reader.usage == Usage(0, 0, 0)


DENIALS = [
    {"total_tokens": 0},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    {"prompt_tokens": 0, "completion_tokens": 0},
    {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5},
]


@pytest.mark.parametrize("usage", DENIALS)
def test_a_usage_that_denies_the_text_that_was_seen_is_not_believed(usage):
    alone, _ = read(chunk("Hi"), usage_chunk(usage))
    after, _ = read(chunk("Hi"), usage_chunk(), usage_chunk(usage))
    together, _ = read(chunk("Hi") | {"usage": usage})
    whole = Meter(FORMAT)
    whole.read_answer({"choices": [{"message": {"content": "Hi"}}], "usage": usage}, b"")

    assert [(each.usage, each.odd_usage) for each in (alone, together, whole)] == [(None, True)] * 3
    assert (whole.text(), after.usage) == ("Hi", Usage(7, 5, 2))


def test_a_whole_answer_without_text_may_have_used_nothing():
    reader = Meter(FORMAT)

    reader.read_answer({"choices": [{"message": {"content": ""}}], "usage": {"total_tokens": 0}}, b"")

    assert reader.usage == Usage(0, 0, 0)


def test_the_last_sane_usage_counts():
    first, _ = read(chunk("Hi"), usage_chunk({"total_tokens": 3}), usage_chunk(), usage_chunk("odd"))
    second, _ = read(chunk("Hi"), usage_chunk("odd"), usage_chunk())

    assert (first.usage, first.odd_usage) == (Usage(7, 5, 2), True)
    assert (second.usage, second.odd_usage) == (Usage(7, 5, 2), True)


def test_an_answer_that_is_cut_before_the_usage_chunk_has_text_to_count():
    reader, _ = read(chunk("", role="assistant"), chunk("Hi"), chunk(" there"), chunk())

    assert (reader.usage, reader.text()) == (None, "Hi there")


def test_usage_is_stale_once_more_text_came():
    reader, _ = read(chunk("Hi") | {"usage": {"total_tokens": 1}}, chunk(" there"))

    assert (reader.usage, reader.text()) == (None, "Hi there")


def test_usage_is_stale_once_text_came_in_an_event_like_an_earlier_one():
    compact = json.dumps(chunk("Hi"), separators=(",", ":")).encode()

    reader, _ = read(compact, usage_chunk(), compact, b"[DONE]")

    assert (reader.text(), reader.usage, reader.final_usage) == ("HiHi", None, None)


@pytest.mark.parametrize("odd", [b"more text", chunk(" there") | {"usage": "odd"}])
def test_usage_is_stale_once_odd_text_came(odd):
    reader, _ = read(chunk("Hi") | {"usage": {"total_tokens": 1}}, odd)

    assert reader.usage is None


def test_usage_stays_valid_after_a_chunk_without_text():
    reader, _ = read(chunk("Hi"), usage_chunk(), chunk(), chunk(""), b"", {"choices": []})

    assert reader.usage == Usage(7, 5, 2)


def test_usage_that_comes_with_text_includes_it():
    reader, shown = read(chunk("Hi") | {"usage": {"total_tokens": 1}}, chunk(" there") | {"usage": USAGE})

    assert (reader.usage, shown) == (Usage(7, 5, 2), [True, True])
