"""What is read of a whole answer without parsing it, and what becomes of one as a stream."""

import json
from typing import Any

import pytest

from gptdock.routes.chat_answers import FORMAT
from gptdock.upstream import answers, loose_json
from gptdock.upstream.answers import LARGE_BYTES, Answer, StreamReader, is_stream, read, read_too_large, to_events
from gptdock.upstream.sse import BOM

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
FILL = "x" * LARGE_BYTES


def large(*, inside: Any = None, **after: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": FILL}, "more": inside}]} | after).encode()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is parsed from now on."""
    sizes: list[int] = []

    def noting(data: bytes) -> object:
        sizes.append(len(data))
        return loose_json.parse(data)

    monkeypatch.setattr(answers, "parse", noting)
    return sizes


@pytest.mark.parametrize("after", [{}, {"service_tier": "default", "deep": {"usage": 1}, "text": 'my "usage": {}'}])
def test_the_usage_at_the_end_of_a_large_answer_is_enough(parsed: list[int], after: Any):
    raw = large(usage=USAGE, **{name: value for name, value in after.items() if name != "deep"})

    answer = read(raw, FORMAT)

    assert answer is not None
    assert answer.content["usage"] == USAGE
    assert sum(parsed) < 300


@pytest.mark.parametrize(
    "raw",
    [
        large(),
        large(usage=None),
        large(usage={}),
        large(usage={"total_tokens": 0}),
        large(inside={"usage": USAGE}),
        large(usage=USAGE, deep={"usage": {"total_tokens": 1}}),
        b'{"z": {"usage": %b}, ' % json.dumps(USAGE).encode() + large()[1:],
        b'{"usage": {"total_tokens": 0}, ' + large()[1:],
    ],
)
def test_an_answer_with_another_end_is_parsed(parsed: list[int], raw: bytes):
    assert read(raw, FORMAT) == Answer(raw, json.loads(raw))
    assert parsed[-1] == len(raw)


@pytest.mark.parametrize("before", [b"", b'"id": "\xc3\xa9", "z": {"a": [1]}, ', b'"my": "\\"usage\\": 7", '])
def test_the_usage_at_the_start_of_a_large_answer_is_enough(parsed: list[int], before: bytes):
    raw = b"{%b" % before + b'"usage": %b, ' % json.dumps(USAGE).encode() + large()[1:] + b" \n"

    answer = read(raw, FORMAT)

    assert answer is not None
    assert answer.content["usage"] == USAGE
    assert sum(parsed) < 300
    with pytest.raises(json.JSONDecodeError):
        read(raw.rstrip()[:-1], FORMAT)


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_large_answer_whose_end_is_missing_is_not_json(cut: int):
    with pytest.raises(json.JSONDecodeError):
        read(large(usage=USAGE)[:-cut], FORMAT)


def read_any(raw: bytes) -> Answer | None:
    if not is_stream(raw):
        return read(raw, FORMAT)
    reader = StreamReader(FORMAT, len(raw))
    reader.feed(raw)
    return reader.answer()


@pytest.mark.parametrize("usage", [None, {"total_tokens": 0}])
def test_an_answer_of_over_a_megabyte_without_a_usage_is_counted_unparsed(monkeypatch, parsed: list[int], usage: Any):
    monkeypatch.setattr(answers, "MOST_PARSED_BYTES", LARGE_BYTES)
    raw = large(usage=usage) + b"\n"

    answer = read(raw, FORMAT)

    assert answer == Answer(raw, {"choices": [{"text": raw.decode()}]})
    assert sum(parsed) < 300
    for odd in (raw[:-4], raw[1:], b"[%b]" % raw):
        with pytest.raises(ValueError, match="not a JSON object"):
            read(odd, FORMAT)


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"7", b"{}", b'{"usage": {}}', b"data: 7\n\n"])
def test_what_is_no_answer_is_none(raw: bytes):
    assert read_any(raw) is None


@pytest.mark.parametrize("raw", [b'{"choices": null}', b'{"usage": {"total_tokens": 7}}', BOM + b'{"choices": []}'])
def test_choices_or_a_usage_make_an_answer(raw: bytes):
    answer = read(raw, FORMAT)

    assert answer is not None
    assert answer.is_answer


@pytest.mark.parametrize(
    ("raw", "is_answer"),
    [
        ('{"error": {"message": "No."}, "choices": null}', False),
        ('{"error": {"message": "No."}, "choices": [{"message": {"content": ""}}]}', False),
        ('{"error": {"message": "No."}, "usage": {"total_tokens": 0}}', False),
        ('{"error": {"message": "No."}, "usage": {"total_tokens": 7}}', True),
        ('{"error": {"message": "No."}, "choices": [{"message": {"content": "Hi"}}]}', True),
        ('{"object": "error", "message": "No."}', False),
        ('[{"error": {"message": "No."}}]', False),
        ('{"detail": "x"}', False),
        ('{"output": {"text": "Hi"}}', True),
        ('[{"generated_text": "Hi"}]', True),
        ('data: {"error": {"message": "No."}}\n\n', False),
        ('event: error\ndata: {"code": "x", "message": "No."}\n\n', False),
    ],
)
def test_an_error_is_an_answer_only_if_something_was_generated(raw: str, is_answer: bool):
    answer = read_any(raw.encode())

    assert answer is not None
    assert answer.is_answer == is_answer


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (large(), b'x"}}], "usage": {"total_tokens": 7}, "z": 1}\n'),
        (b'{"usage": {"total_tokens": 7}, ' + large()[1:], b"xxx"),
        (b'{"usage" :\n{"total_tokens": 7, "more": {}}, ' + large()[1:], b'"usage": 7}'),
    ],
)
def test_of_an_answer_that_is_too_large_the_usage_is_read(start: bytes, end: bytes):
    answer = read_too_large(start, end, FORMAT)

    assert answer.content["usage"]["total_tokens"] == 7
    assert answer.fault


@pytest.mark.parametrize("end", [b"", b'"usage": {"total_tokens": 7}', b'"usage": {"total_tokens": 0}}', b'"usage": }'])
def test_an_answer_that_is_too_large_and_has_no_usage_is_text(end: bytes):
    answer = read_too_large(b'{"usage": [' + b"x" * 1000, end, FORMAT)

    assert answer.content == {"choices": [{"text": '{"usage": [' + "x" * 1000}]}


def test_the_body_of_an_error_is_an_answer_if_something_was_generated():
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    call = {"function": {"name": "f", "arguments": deep}}

    bodies = [{"choices": [{"message": {"content": "Hi"}}]}, {"choices": [{"message": {"tool_calls": [call]}}]}]
    assert all(answers.in_spite(body, FORMAT) for body in [*bodies, {"error": "No.", "usage": {"total_tokens": 7}}])
    others: list[Any] = [None, [], "Hi", {}, {"detail": "Hi"}, {"choices": []}, {"usage": {"total_tokens": 0}}]
    assert not any(answers.in_spite(body, FORMAT) for body in others)


@pytest.mark.parametrize("choices", [None, [], "odd", [7], [{"message": None}], [{"message": {"tool_calls": [None]}}]])
def test_choices_of_any_shape_become_an_event(choices: Any):
    raw = json.dumps({"choices": choices}).encode()
    answer = read(raw, FORMAT)

    assert answer is not None
    event, done = to_events(answer, FORMAT)

    assert json.loads(event.data or b"")["object"] == "chat.completion.chunk"
    assert event.raw == b"data: %b\n\n" % (event.data or b"")
    assert done.data == b"[DONE]"


@pytest.mark.parametrize("odd", [r'"\ud83d"', "1" + "0" * 50, "NaN"])
def test_json_that_orjson_does_not_write_becomes_an_event(odd: str):
    answer = read(b'{"choices": [], "odd": %b}' % odd.encode(), FORMAT)

    assert answer is not None
    assert len(to_events(answer, FORMAT)) == 2
