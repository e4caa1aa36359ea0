"""What callers see of an error within an answer."""

import json
from typing import Any

import pytest

from gptdock.http import hidden
from gptdock.upstream.answers import MOST_PARSED_BYTES

KEY = "sk-upstream-secret"


@pytest.mark.parametrize(
    "content", [{"error": None}, {"text": '"error": "x"'}, {"errors": ["x"]}, {"a": {"error": "x"}}]
)
def test_an_answer_without_an_error_of_its_own_is_not_touched(content: Any):
    raw = json.dumps(content).encode()

    assert hidden.answer(raw, KEY) is raw


@pytest.mark.parametrize("size", [1, MOST_PARSED_BYTES])
def test_our_key_is_hidden_in_an_answer_of_any_size_and_a_large_one_is_not_parsed(size: int, monkeypatch: Any):
    if size > 1:
        monkeypatch.setattr(hidden, "parse", None)
    raw = json.dumps({"error": {"message": f"Not with {KEY}."}, "data": ["x" * size]}).encode()

    shown = hidden.answer(raw, KEY)

    assert json.loads(shown) == {"error": {"message": "Not with ***."}, "data": ["x" * size]}


def test_what_is_no_json_is_not_touched():
    assert hidden.answer(b'{"error": "x"', KEY) == b'{"error": "x"'
    assert hidden.event(b'event: x\ndata: {"error": "x"\n\n', KEY) == b'event: x\ndata: {"error": "x"\n\n'
