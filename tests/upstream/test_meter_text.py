"""What of an answer counts as generated text."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.routes.chat_answers import FORMAT
from gptdock.upstream import meter
from gptdock.upstream.meter import Meter
from gptdock.upstream.usage import Usage
from tests.harness.chunks import chunk, event, read, usage_chunk

DATA = Path(__file__).parents[1] / "data"


def test_the_text_of_every_choice_counts():
    reader, _ = read({"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}, chunk("c"))

    assert reader.text() == "abc"


@pytest.mark.parametrize(
    "data",
    [
        b"<p>Hi</p>",
        b"ping",
        b'{"choices": [',
        b"[" * 100_000,
        b'{"choices": ' + b"9" * 5000 + b"}",
        "é".encode("latin-1"),
    ],
)
@pytest.mark.parametrize("before", [[], [chunk("Hi")]])
def test_an_event_that_is_not_json_counts_as_text(data, before):
    reader, shown = read(*before, data)

    assert shown[-1]
    assert reader.has_text
    assert reader.text().removeprefix("Hi" if before else "") == event(data).data.decode("utf-8", "replace")


def test_broken_utf_8_does_not_hide_the_rest():
    reader, _ = read(b'{"choices": [{"delta": {"content": "a\xffb"}}], "usage": {"total_tokens": 7}}')

    assert (reader.text(), reader.usage) == ("a\ufffdb", Usage(7, 0, 0))


FRAGMENTS = [b"", b'"', b"\\", b"}", b"{", b",", b"\n", b"\x00", b"\xff", b"\\u0041"]
FRAGMENTS += [b'"usage":{"total_tokens":5},', b'"error":{},', b"[DONE]"]
PADDED = (
    b'{"id":"c","choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}],"usage":null,"obfuscation":"%b"}'
)
BARE = b'{"id":"c","choices":[{"index":0,"delta":{"content":"%b"}}]}'
EDITS = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 3), st.sampled_from(FRAGMENTS)), max_size=3)


@pytest.mark.parametrize("first", [PADDED % (b"Hi", b"x7"), BARE % b"Hi"], ids=["padded", "bare"])
def test_events_like_a_parsed_one_are_not_parsed(first: bytes, monkeypatch: pytest.MonkeyPatch):
    reader, _ = read(first)
    monkeypatch.setattr(meter, "parse", lambda data: 1 / 0)

    shown = [
        reader.read(event(first.replace(b"Hi", text).replace(b"x7", b"y"))) for text in (b" you", b"", "é\xff".encode())
    ]

    assert (shown, reader.text()) == ([True] * 3, "Hi youé\xff")


@given(st.sampled_from([PADDED % (b"Hi", b"x7"), BARE % b"Hi"]), EDITS)
def test_an_event_tells_the_same_whether_one_like_it_was_parsed_or_not(first, edits):
    """The second event is the first with some bytes replaced: what is not exactly like it is parsed as ever."""
    data = first
    for position, length, fragment in edits:
        data = data[:position] + fragment + data[position + length :]

    readers = Meter(FORMAT), Meter(FORMAT)
    for reader in readers:
        reader.read(event(first))
    readers[1]._shape = None
    shown = [reader.read(event(data)) for reader in readers]

    told = [(reader.text(), reader.usage, reader.error, reader.odd_usage, reader.done) for reader in readers]
    assert shown[0] == shown[1]
    assert told[0] == told[1]


ELSEWHERE = {
    "padding under another name": rb'{"choices":[{"index":0,"delta":{"content":"Hi"},"x\"obfuscation":"%b"}]}',
    "a text behind a space": rb'{"choices":[{"delta":{"content": "Hi"}}],"metadata":{"content":"%b"}}',
    "a text under an escaped name": rb'{"choices":[{"delta":{"cont\u0065nt":"Hi"}}],"metadata":{"content":"%b"}}',
    "a text beside the content": rb'{"choices":[{"delta":{"content":"%b","words":"hidden"}}]}',
    "a message beside the delta": rb'{"choices":[{"delta":{"content":"%b"},"message":{"content":"hidden"}}]}',
    "a text beside the choices": rb'{"choices":[{"delta":{"content":"%b"}}],"words":"hidden"}',
    "a usage that is none": rb'{"choices":[{"delta":{"content":"%b"}}],"usage":{"total_tokens":"many"}}',
    "an error that is none": rb'{"choices":[{"delta":{"content":"%b"}}],"error":{}}',
    "a name twice": rb'{"choices":[{"delta":{"content":"%b"},"delta":{"content" :"Hi"}}]}',
}


@pytest.mark.parametrize("data", ELSEWHERE.values(), ids=ELSEWHERE)
@pytest.mark.parametrize(("first", "second"), [(b"Hi", b""), (b"Hi", b"Bye"), (b"", b"hidden words")])
def test_what_only_looks_like_the_text_or_the_padding_of_an_event_makes_no_shape(data, first, second):
    reader, _ = read(data % first, data % second)

    assert reader.text() == read(data % first)[0].text() + read(data % second)[0].text()


def test_text_is_seen_once_there_is_some():
    reader = Meter(FORMAT)

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


def test_only_the_text_of_events_is_kept():
    words = [f"word{number} " for number in range(3000)]
    reader = Meter(FORMAT)

    for word in words:
        reader.read(event(chunk(word)))

    assert reader.text() == "".join(words)
    assert len(reader._utf8) == sum(map(len, words))


def test_a_recorded_answer_has_a_text_and_a_usage():
    raw = (DATA / "ask_response.json").read_bytes()
    answer = json.loads(raw)
    with_usage, without = Meter(FORMAT), Meter(FORMAT)

    with_usage.read_answer(answer, raw)
    without.read_answer(answer | {"usage": None}, raw)

    assert with_usage.usage == Usage(175, 118, 57)
    assert without.text() == answer["choices"][0]["message"]["content"]


def test_an_answer_that_is_too_deep_to_be_read_counts_as_a_whole():
    deep: object = []
    for _ in range(sys.getrecursionlimit() * 2):
        deep = [deep]
    answer = {"choices": [{"message": {"function_call": {"arguments": deep}}}]}
    reader = Meter(FORMAT)

    reader.read_answer(answer, b"{all of it}")

    assert reader.text() == "{all of it}"
