"""Likely tokens (`top_logprobs`), which the last events of a response repeat: they are not parsed."""

import json
from typing import Any

import pytest

from gptdock.routes.responses_answers import FORMAT
from gptdock.upstream import meter
from gptdock.upstream.meter import Meter
from gptdock.upstream.sse import Event
from gptdock.upstream.usage import Usage

USAGE = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}


def likely(token: str, top: int) -> list[dict[str, Any]]:
    each = {"token": token, "logprob": -0.25, "bytes": [32]}
    return [{**each, "top_logprobs": [each] * top}] * 100


def events(text: str, *all_likely: list[Any]) -> list[dict[str, Any]]:
    """The last events of a response with parts of this text, each with its likely tokens."""
    parts = [{"type": "output_text", "logprobs": each, "text": text} for each in all_likely]
    item = {"type": "message", "content": parts}
    return [
        {"type": "response.output_text.done", "text": text, "logprobs": parts[0]["logprobs"]},
        {"type": "response.content_part.done", "part": parts[0]},
        {"type": "response.output_item.done", "item": item},
        {"type": "response.completed", "response": {"output": [item], "usage": USAGE}, "sequence_number": 7},
    ]


@pytest.mark.parametrize(
    "all_likely",
    [
        [likely(" Hi", 20)],
        [likely(" Hi", 20), [], likely(" Hi", 20)],
        [likely(" }]}] ", 20)],
        [likely("}]}]", 20), likely(" Hi", 20)],
        [likely(" Hi", 0), likely(" Hi", 20), likely(" Hi", 0)],
        [likely('"logprobs":[{', 20)],
    ],
)
@pytest.mark.parametrize(("text", "separators"), [(1000 * "Hi }]}] ", (",", ":")), (1000 * "Hi ", None)])
def test_a_large_event_tells_the_same_whatever_is_left_out_of_it(
    text: str, separators: Any, all_likely: Any, monkeypatch: pytest.MonkeyPatch
):
    datas = [json.dumps(each, separators=separators).encode() for each in events(text, *all_likely)]
    lean, full = Meter(FORMAT), Meter(FORMAT)

    for data in datas:
        lean.read(Event(data, data))
    monkeypatch.setattr(meter, "_LARGE_BYTES", 2**30)
    for data in datas:
        full.read(Event(data, data))

    assert lean.text() == full.text() == text * len(all_likely)
    assert (lean.done, lean.usage) == (full.done, full.usage) == (True, Usage(8, 5, 3))


@pytest.mark.parametrize("separators", [(",", ":"), None])
def test_likely_tokens_are_not_parsed(separators: Any):
    for event in events("Hi", likely(" Hi", 20), likely(" Hi", 2)):
        data = json.dumps(event, separators=separators).encode()

        assert json.loads(FORMAT.lean(data)).keys() == event.keys()
        assert len(FORMAT.lean(data)) < 500 < len(data)
