"""Text of `/v1/responses` that is told twice, late, or in fields that nobody knows: it counts, and once."""

import json
from typing import Any

import pytest

from gptdock.routes.responses_answers import FORMAT
from gptdock.upstream import answers
from gptdock.upstream.meter import Meter
from gptdock.upstream.sse import EventSplitter
from gptdock.upstream.usage import Usage

WORDS = "word " * 500
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "status": "completed", "name": "look"}
MESSAGE = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "phase": "final_answer"}
ZERO = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


def told(kind: str | None, **fields: Any) -> bytes:
    """An event whose data has a type; one of no kind has none, and no name."""
    if kind is None:
        return b"data: %b\n\n" % json.dumps(fields).encode()
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


def named(kind: str, **fields: Any) -> bytes:
    """An event whose type is its name alone."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps(fields).encode())


def read(*events: bytes) -> Meter:
    meter = Meter(FORMAT)
    for event in EventSplitter(keeps_names=True).feed(b"".join(events)):
        meter.read(event)
    return meter


def part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def response(status: str = "completed", usage: Any = None, *output: Any) -> dict[str, Any]:
    echoed = {"object": "response", "id": "resp_1", "instructions": "Be brief.", "tools": [{"description": "Looks."}]}
    return {"response": {"status": status, **echoed, "output": output, "usage": usage}}


THOUGHT = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Hm."}, part("So.")]}
SAID = MESSAGE | {"content": [part("One "), {"type": "refusal", "refusal": "two"}]}
ITEMS = [THOUGHT, SAID, CALL | {"arguments": "{}"}, CALL | {"name": "draw", "arguments": "[]"}]
TEXTS = {"output_index": 1, "item_id": "m", "content_index": 0}
WHOLE = [
    told("response.created", **response("in_progress")),
    told("response.in_progress", **response("in_progress")),
    told("response.output_item.added", output_index=0, item=THOUGHT | {"summary": []}),
    told("response.reasoning_summary_text.delta", delta="Hm."),
    told("response.reasoning_summary_text.done", text="Hm."),
    told("response.reasoning_summary_part.done", part=THOUGHT["summary"][0]),
    told("response.reasoning_summary_text.delta", delta="So."),
    told("response.reasoning_summary_text.done", text="So."),
    told("response.output_item.done", output_index=0, item=THOUGHT),
    told("response.output_item.added", output_index=1, item=MESSAGE | {"content": []}),
    told("response.content_part.added", **TEXTS, part=part("")),
    told("response.output_text.delta", **TEXTS, delta="One", logprobs=[{"token": "One"}], obfuscation="x7"),
    told("response.output_text.delta", **TEXTS, delta=" ", logprobs=[{"token": " "}], obfuscation="x7"),
    told("response.output_text.done", **TEXTS, text="One ", logprobs=[{"token": "One"}, {"token": " "}]),
    told("response.content_part.done", **TEXTS, part=part("One ")),
    told("response.refusal.delta", **TEXTS, delta="two"),
    told("response.refusal.done", **TEXTS, refusal="two"),
    told("response.output_item.done", output_index=1, item=SAID),
    told("response.output_item.added", output_index=2, item=CALL | {"arguments": ""}),
    told("response.output_item.added", output_index=3, item=CALL | {"name": "draw", "arguments": ""}),
    told("response.function_call_arguments.delta", output_index=3, item_id="fc_2", delta="[]"),
    told("response.function_call_arguments.delta", output_index=2, item_id="fc_1", delta="{}"),
    told("response.function_call_arguments.done", output_index=2, item_id="fc_1", name="look", arguments="{}"),
    told("response.function_call_arguments.done", output_index=3, item_id="fc_2", name="draw", arguments="[]"),
    told("response.output_item.done", output_index=2, item=ITEMS[2]),
    told("response.output_item.done", output_index=3, item=ITEMS[3]),
    told("response.completed", **response("completed", None, *ITEMS)),
]
ONCE = "Hm.So.One twolookdraw[]{}"


def test_text_that_is_told_four_times_counts_once_wherever_the_stream_is_cut():
    for end in range(len(WHOLE) + 1):
        assert ONCE.startswith(read(*WHOLE[:end]).text())

    assert read(*WHOLE).text() == ONCE


def test_text_counts_though_any_of_its_events_is_missing():
    for missing in range(len(WHOLE)):
        assert len(read(*WHOLE[:missing], *WHOLE[missing + 1 :]).text()) == len(ONCE)


def test_a_response_that_is_told_again_and_again_counts_once():
    growing = [told("response.in_progress", **response("in_progress", None, *ITEMS[:count])) for count in range(5)]

    assert len(read(*growing, *growing).text()) == len(ONCE)


@pytest.mark.parametrize(
    "event",
    [
        told("response.output_text.done", text=WORDS),
        told("response.refusal.done", refusal=WORDS),
        told("response.function_call_arguments.done", arguments=WORDS),
        told("response.code_of_next_year.done", code=WORDS),
        told("response.content_part.done", part=part(WORDS)),
        told("response.output_item.done", item=MESSAGE | {"content": [part(WORDS)]}),
        told(
            "response.output_item.done", item=MESSAGE | {"content": [{"type": "output_text", "text": {"value": WORDS}}]}
        ),
        told("response.completed", **response("completed", None, MESSAGE | {"content": [part(WORDS)]})),
        told("response.completed", **response("completed", ZERO, MESSAGE | {"content": [part(WORDS)]})),
        told("response.failed", **response("failed", None, MESSAGE | {"content": WORDS})),
        told("response.output_text.delta", delta={"value": WORDS}),
        told("response.output_text.delta", text=WORDS),
        told("response.output_text.delta", delta="", text=WORDS),
        told("response.output_text.chunk", text=WORDS),
        named("response.output_text.delta", delta=WORDS),
        told(None, type=None, delta=WORDS),
        told(None, type=["response.output_text.delta"], delta=WORDS),
        told(None, choices=[{"delta": {"content": WORDS}}]),
        told("content_block_delta", delta={"type": "text_delta", "text": WORDS}),
    ],
)
def test_text_counts_in_whatever_event_it_comes(event: bytes):
    meter = read(WHOLE[0], event)

    assert (meter.text(), meter.final_usage) == (WORDS, None)


def test_text_beside_a_delta_in_a_field_of_next_year_counts():
    assert read(told("response.output_text.delta", delta="Hi", thought=WORDS)).text() == f"Hi{WORDS}"


def test_arguments_that_come_parsed_count():
    item = CALL | {"arguments": {"question": WORDS}}

    assert WORDS in read(told("response.output_item.done", item=item)).text()


def test_nothing_that_the_caller_sent_nor_an_annotation_is_text():
    annotation = {"type": "url_citation", "title": "A title", "url": "http://localhost"}
    meter = read(
        *WHOLE[:2],
        told("keepalive", sequence_number=3),
        told("response.output_text.annotation.added", annotation=annotation),
        told("response.output_item.done", item={"type": "reasoning", "summary": [], "encrypted_content": "x" * 90}),
        told("response.output_item.done", item=MESSAGE | {"content": []}),
        told("response.failed", **response("failed")),
    )

    assert meter.text() == ""


def test_an_event_without_a_type_is_of_the_kind_that_its_name_tells():
    usage = {"input_tokens": 9, "output_tokens": 300, "total_tokens": 309}
    meter = read(
        named("response.output_text.delta", delta="Hi"), named("response.completed", **response("completed", usage))
    )

    assert (meter.done, meter.final_usage) == (True, Usage(309, 9, 300))


@pytest.mark.parametrize("within", [{}, {"usage": None}, {"usage": "many"}])
def test_a_usage_beside_the_response_is_one(within: dict[str, Any]):
    usage = {"input_tokens": 9, "output_tokens": 300, "total_tokens": 309}

    assert read(told("response.completed", response=within, usage=usage)).final_usage == Usage(309, 9, 300)


@pytest.mark.parametrize(
    "whole",
    [
        {"choices": [{"message": {"content": WORDS}}]},
        {"type": "message", "content": [{"type": "text", "text": WORDS}]},
        {"response": {"output": [MESSAGE | {"content": [part(WORDS)]}]}},
        {"object": "response", "instructions": "Be brief.", "output": [], "output_text": WORDS},
        {"object": "response", "output": [MESSAGE | {"content": [{"value": WORDS}]}]},
    ],
)
def test_a_whole_answer_of_an_unknown_shape_is_charged_by_its_text(whole: dict[str, Any]):
    answer = answers.read(json.dumps(whole).encode(), FORMAT)

    assert answer
    meter = Meter(FORMAT)
    meter.read_answer(answer.content, answer.raw)
    assert meter.text() == WORDS


@pytest.mark.parametrize("arguments", [{"city": "Köln"}, ["Köln", 2], 1234567, True])
@pytest.mark.parametrize("kind", ["function_call_arguments", "mcp_call_arguments", "custom_tool_call_input"])
def test_arguments_that_come_parsed_count_as_they_were_written(kind: str, arguments: Any):
    name = kind.rpartition("_")[2]
    written = json.dumps(arguments, ensure_ascii=False)
    delta, done = told(f"response.{kind}.delta", delta=arguments), told(f"response.{kind}.done", **{name: arguments})
    item = told("response.output_item.done", item=CALL | {name: arguments})

    assert read(delta).text() == read(done).text() == read(delta, done).text() == written
    assert read(item).text() == "look" + written
