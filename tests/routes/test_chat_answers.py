"""What a chunk of a chat completion tells, and where upstreams report its usage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.routes import chat_texts
from gptdock.routes.chat_answers import FORMAT
from gptdock.routes.chat_answers import reported as found
from tests.harness.chunks import USAGE


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"usage": USAGE}, USAGE),
        ({"choices": [{"usage": USAGE}]}, USAGE),
        ({"choices": [{}, {"usage": USAGE}], "usage": None}, USAGE),
        ({"choices": [{"usage": USAGE}], "usage": {}}, USAGE),
        ({"choices": [{"usage": {"total_tokens": 1}}], "usage": USAGE}, USAGE),
        ({"x_groq": {"id": "x", "usage": USAGE}}, USAGE),
        ({"choices": [{"usage": None}, None, 7], "x_groq": 7}, None),
        ({"choices": {"usage": USAGE}}, None),
        ({"usage": "odd"}, "odd"),
        ({}, None),
    ],
)
def test_a_usage_is_found_wherever_upstreams_report_it(answer, usage):
    assert found(answer) == usage


VALUES = st.sampled_from(
    [None, "", "x", "error", 7, 0, [], {}, ["x"], {"text": "x"}, USAGE, [{"type": "reasoning.summary"}]]
)
DELTAS = st.dictionaries(
    st.sampled_from(["role", "content", "refusal", "reasoning", "reasoning_details", "tool_calls", "audio", "odd"]),
    VALUES,
    max_size=3,
)
CHOICES = st.dictionaries(
    st.sampled_from(["index", "finish_reason", "logprobs", "usage", "message"]), VALUES, max_size=2
)
CHUNKS = st.dictionaries(
    st.sampled_from(["id", "object", "model", "usage", "service_tier", "error", "type", "x_groq", "odd"]),
    VALUES,
    max_size=4,
)


@given(CHUNKS, st.lists(st.builds(lambda choice, delta: choice | {"delta": delta}, CHOICES, DELTAS), max_size=2))
def test_a_usual_chunk_tells_what_it_would_tell_if_it_were_looked_through(chunk, choices):
    chunk |= {"choices": choices}
    text = FORMAT.text_of(chunk)
    told = [FORMAT.told(chunk, text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat_texts, "is_usual", lambda chunk: False)
        told.append(FORMAT.told(chunk, text))

    assert told[0] == told[1]
