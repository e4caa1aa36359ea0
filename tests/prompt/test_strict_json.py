"""Which bytes are strict JSON."""

import pytest

from gptdock.prompt import strict_json
from gptdock.prompt.ask import ChatRequest
from tests.harness.params import param_of


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" ", id="blank"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"{} {}", id="two values"),
        pytest.param(b"[]", id="array at the root"),
        pytest.param(b'"text"', id="string at the root"),
        pytest.param(b"null", id="null at the root"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b'{"a": Infinity}', id="infinity"),
        pytest.param(b'{"a": -Infinity}', id="minus infinity"),
        pytest.param(b'{"a": 1e999}', id="a float beyond its range"),
        pytest.param(b'{"a": -1e999}', id="a negative float beyond its range"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", id="an integer of 5,000 digits"),
        pytest.param(b'{"a": 1, "a": 1}', id="duplicate keys"),
        pytest.param(b'{"a": {"b": 1, "\\u0062": 2}}', id="duplicate keys, nested and escaped"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="objects 100,000 deep"),
        pytest.param(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="arrays 100,000 deep"),
        pytest.param(b"\xef\xbb\xbf{}", id="BOM"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="UTF-16"),
        pytest.param('{"a": 1}'.encode("utf-16-le"), id="UTF-16 without BOM"),
        pytest.param('{"a": "é"}'.encode("latin-1"), id="Latin-1"),
        pytest.param(b'{"a": "\xed\xa0\x80"}', id="a surrogate in UTF-8"),
        pytest.param(b'{"a": "\n"}', id="a control character in a string"),
        pytest.param(b"{'a': 1}", id="single quotes"),
    ],
)
def test_anything_but_strict_json_is_refused(data):
    assert param_of(strict_json.parse_object, data) == "body"
    assert param_of(ChatRequest.from_json, data) == "body"


def test_strict_json_is_read():
    assert strict_json.parse_object('{"a": [1, 2.5, -1e3, null, "é"]}'.encode()) == {"a": [1, 2.5, -1000.0, None, "é"]}
