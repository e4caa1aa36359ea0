"""Where upstreams report the usage of a chat completion."""

import pytest

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
