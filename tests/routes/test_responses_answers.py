"""What an answer of `/v1/responses` tells, event by event and as a whole."""

import json
from typing import Any

import pytest

from gptdock.routes.responses_answers import FORMAT
from gptdock.upstream import answers
from gptdock.upstream.meter import Meter
from gptdock.upstream.sse import Event, EventSplitter
from gptdock.upstream.usage import Usage
from tests.harness.openai_types import check_event

USAGE = {
    "input_tokens": 5,
    "output_tokens": 3,
    "total_tokens": 8,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens_details": {"reasoning_tokens": 1},
}
WHOLE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "error": None,
    "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}], "content": [{"text": "b"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "c"}, {"type": "refusal", "refusal": "d"}]},
        {"type": "function_call", "name": "e", "arguments": "f"},
        {"type": "custom_tool_call", "name": "g", "input": "h"},
    ],
    "usage": USAGE,
}


def told(kind: str, number: int = 0, /, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "sequence_number": number, **fields}


def read(*events: dict[str, Any]) -> tuple[Meter, list[bool]]:
    meter = Meter(FORMAT)
    datas = [json.dumps(event).encode() for event in events]
    return meter, [meter.read(Event(data, data)) for data in datas]


DELTAS = ["output_text", "refusal", "reasoning_text", "reasoning_summary_text", "function_call_arguments"]
DELTAS += ["custom_tool_call_input", "a_kind_of_next_year"]


@pytest.mark.parametrize("kind", DELTAS)
def test_text_is_in_deltas_of_any_kind_and_counted_once(kind: str):
    meter, shown = read(
        told("response.created", response={"usage": None, "error": None}),
        told(f"response.{kind}.delta", 1, delta="Hi"),
        told(f"response.{kind}.done", 2, text="Hi", arguments="Hi", refusal="Hi", input="Hi"),
        told("response.output_item.done", 3, item={"content": [{"text": "Hi"}]}),
    )

    assert all(shown)
    assert (meter.text(), meter.done, meter.usage) == ("Hi", False, None)


@pytest.mark.parametrize(
    ("event", "thinks"),
    [
        (told("response.reasoning_summary_text.delta", delta="Hm"), True),
        (told("response.reasoning_summary_part.added", part={"type": "summary_text", "text": ""}), True),
        (told("response.output_item.added", item={"type": "reasoning"}), True),
        (told("response.output_item.done", item={"type": "message", "content": [{"text": "Hi"}]}), True),
        (told("response.output_item.added", item={"type": "message", "content": []}), False),
        (told("response.output_text.done", text="Hi"), False),
        (told("response.reasoning_text.delta", delta="Hm"), False),
    ],
)
def test_thoughts_may_follow_a_summary_and_an_item_that_ends(event: dict[str, Any], thinks: bool):
    meter, _ = read(told("response.output_text.delta", delta="Hi"), event)

    assert meter.thinks is thinks


def test_the_name_of_a_call_is_generated():
    meter, _ = read(told("response.output_item.added", item={"type": "function_call", "name": "look", "arguments": ""}))

    assert meter.text() == "look"


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed"])
@pytest.mark.parametrize("usage", [USAGE, None])
def test_an_answer_ends_with_one_of_three_events(kind: str, usage: Any):
    delta, end = told("response.output_text.delta", delta="Hi"), told(f"response.{kind}", response={"usage": usage})

    meter, shown = read(delta, end, delta)

    assert shown == [True, True, False]
    assert meter.done
    assert meter.final_usage == (Usage(8, 5, 3, 4, 1) if usage else None)


@pytest.mark.parametrize(
    "kind", ["response.queued", "response.in_progress", "response.output_text.done", "response", 7]
)
def test_no_other_event_ends_an_answer_nor_does_done(kind: Any):
    meter, _ = read({"type": kind, "response": {"usage": None}})

    assert not meter.read(Event(b"data: [DONE]\n\n", b"[DONE]"))
    assert not meter.done


@pytest.mark.parametrize(
    "event", [told("error", code="c", message="No."), told("error", error={"code": "c", "message": "No."})]
)
def test_an_error_of_the_upstream_is_not_shown(event: dict[str, Any]):
    meter, shown = read(event)

    assert shown == [False]
    assert meter.error is not None
    assert meter.error["message"] == "No."


@pytest.mark.parametrize(
    "event",
    [
        told("response.output_text.delta"),
        told("response.output_text.delta", delta=None),
        told("response.output_item.added", item=None),
        told("response.completed", response=None),
        told("response.completed"),
        {"type": None},
        {},
    ],
)
def test_an_event_of_an_odd_shape_is_passed_on_and_has_no_text(event: dict[str, Any]):
    meter, shown = read(event)

    assert shown == [True]
    assert meter.text() == ""


def test_the_error_event_is_the_api_s_own_and_its_number_goes_on():
    error = {"error": {"message": "Broken.", "type": "api_error", "param": None, "code": "upstream_error"}}

    raw = FORMAT.error_event(error | {"request_id": "r"}, FORMAT.next_number(told("response.created", 41)))

    [event] = EventSplitter(keeps_names=True).feed(raw)
    value = json.loads(event.data or b"")
    assert raw == event.raw
    assert raw.startswith(b"event: error\ndata: {")
    assert value.pop("error") == error["error"]
    assert value.pop("request_id") == "r"
    check_event(value)
    assert value["sequence_number"] == 42
    assert FORMAT.next_number({}) == 0


def test_all_text_of_a_whole_answer_is_found():
    assert FORMAT.text_of(WHOLE) == "bacdefgh"


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_a_whole_answer_becomes_the_events_of_a_stream(status: str):
    raw = json.dumps(WHOLE | {"status": status}).encode()
    answer = answers.read(raw, FORMAT)

    assert answer is not None
    events = answers.to_events(answer, FORMAT)
    meter = Meter(FORMAT)
    assert [meter.read(event) for event in events] == [True, True]
    assert meter.done
    assert meter.usage == Usage(8, 5, 3, 4, 1)
    assert events[1].raw.startswith(b"event: response.%b\ndata: {" % status.encode())


@pytest.mark.parametrize("status", ["in_progress", "queued", "cancelled", "paused", 7, None, "absent"])
@pytest.mark.parametrize("usage", [USAGE, None])
def test_an_unfinished_answer_is_a_fault_with_a_charge(status: Any, usage: Any):
    told = {} if status == "absent" else {"status": status}
    whole = {name: value for name, value in WHOLE.items() if name != "status"} | told | {"usage": usage}
    answer = answers.read(json.dumps(whole).encode(), FORMAT)

    assert answer
    assert answer.fault
    events, meter = answers.to_events(answer, FORMAT), Meter(FORMAT)
    for event in events:
        meter.read(event)
    assert b"".join(event.raw for event in events) == b""
    assert not meter.done
    assert (meter.final_usage, meter.text()) == ((Usage(8, 5, 3, 4, 1), "") if usage else (None, "bacdefgh"))


def test_of_a_large_answer_only_the_usage_is_read_and_a_failed_one_is_an_answer():
    large = json.dumps(WHOLE | {"output": [{"content": "x" * answers.LARGE_BYTES}], "usage": USAGE, "user": None})

    answer = answers.read(large.encode(), FORMAT)
    failed = answers.read(json.dumps(WHOLE | {"error": {"message": "No."}, "output": []}).encode(), FORMAT)
    refused = answers.read(b'{"error": {"message": "No."}}', FORMAT)

    assert answer
    assert failed
    assert refused
    assert answer.content.keys() == {"usage", "user"}
    assert (failed.is_answer, refused.is_answer) == (True, False)


@pytest.mark.parametrize("usage", [USAGE, None])
@pytest.mark.parametrize("size", [answers.LARGE_BYTES, answers.MOST_PARSED_BYTES])
def test_a_large_answer_that_says_that_it_is_unfinished_is_a_fault(size: int, usage: Any):
    rest = {"output": [{"content": "x" * size}], "usage": usage}
    for head, is_fault in (({"status": "in_progress"}, True), ({"status": "completed"}, False), ({"a": "[,"}, False)):
        raw = json.dumps({"object": "response", **head, "error": None} | rest).encode()
        if head.keys() == {"a"} and size < answers.MOST_PARSED_BYTES and usage is None:
            continue  # it is parsed, and has no status

        answer = answers.read(raw, FORMAT)

        assert answer
        assert bool(answer.fault) is is_fault


def test_a_stream_in_place_of_a_whole_answer_is_read_for_its_usage_or_its_text():
    delta, end = told("response.output_text.delta", delta="Hi"), told("response.completed", response={"usage": USAGE})
    for events, usage in (([delta, end], Usage(8, 5, 3, 4, 1)), ([delta], None)):
        raw = b"".join(b"event: e\ndata: %b\n\n" % json.dumps(each).encode() for each in events)

        reader = answers.StreamReader(FORMAT, len(raw))
        reader.feed(raw)
        answer = reader.answer()

        assert answer
        assert answer.fault
        meter = Meter(FORMAT)
        meter.read_answer(answer.content, answer.raw)
        assert (meter.usage, meter.text()) == (usage, "" if usage else "Hi")


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_events_keep_their_names_however_they_are_cut(size: int, line_end: bytes):
    lines = [b"event: response.created", b'data: {"type":"response.created"}', b"", b'data: {"type":"x"}', b"", b""]
    data = line_end.join(lines)
    splitter = EventSplitter(keeps_names=True)

    events = [each for at in range(0, len(data), size) for each in splitter.feed(data[at : at + size])]

    assert b"".join(event.raw for event in events) == b"\n".join(lines)
