"""Which bodies of `/v1/ask` are accepted, and which field a refusal names."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptdock.prompt.ask import ChatRequest, Message
from tests.harness import properties
from tests.harness.params import param_of

FIELDS = {"question": "Why?", "user_id": "u", "client_id": "c", "product_id": "p"}


def body(**fields):
    return json.dumps(FIELDS | fields).encode()


def test_a_body_becomes_a_request():
    data = body(client_id=1234, stream=True, history=[{"role": "user", "content": "Hi"}], unknown={"a": None})

    got = ChatRequest.from_json(data)

    assert got == ChatRequest("Why?", "u", "1234", "p", True, (Message("user", "Hi"),))


def test_stream_and_history_may_be_left_out():
    got = ChatRequest.from_json(body())

    assert (got.stream, got.history) == (False, ())


@given(st.binary(), st.sampled_from([b"", b"{", b'{"question": ', b"[", b"\xff"]))
def test_any_bytes_are_a_request_or_a_400(data, start):
    properties.admits_what_the_contract_allows(start + data)


# JSON as text, since a value cannot have a key twice. It is made of what parsers disagree on.
ODD_JSON = ["NaN", "-Infinity", "1e999", "-0", "01", "1.", "9" * 255, "9" * 256, "9" * 5000, "true", "True", "1,"]
ODD_JSON += ['"\\ud83d"', '"\\ud83d\\ude00"', '"\x00"', '"\\u0000"', '"\\n"', '""', '" "', '"\u3000"', '"user"', '"a']
ODD_JSON += ["\ufeff{}", "'a'", "{,}", *("[" * depth + "]" * depth for depth in (1, 50, 150, 2000, 100_000))]
SCALARS = st.sampled_from(ODD_JSON) | st.text().map(json.dumps) | st.integers().map(str) | st.floats().map(json.dumps)
NAMES = st.sampled_from([*FIELDS, "stream", "history", "role", "content", "quest\\u0069on"])


def an_object(pairs):
    return "{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}"


PIECES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(NAMES, inner), max_size=3).map(an_object)
    ),
    max_leaves=6,
)
TURNS = st.lists(st.permutations([("role", '"user"'), ("content", '"Hi"')]).map(an_object) | PIECES, max_size=3)
VALID = [*((name, json.dumps(value)) for name, value in FIELDS.items()), ("stream", "true")]


@settings(max_examples=500, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(st.lists(st.tuples(NAMES, PIECES), max_size=2), st.none() | st.sampled_from(VALID), TURNS, st.booleans())
def test_any_json_is_a_request_or_a_400(others, left_out, turns, replace):
    pairs = [*VALID, ("history", f"[{','.join(turns)}]")]
    names = {name for name, _ in others} if replace else set()

    pairs = [pair for pair in pairs if pair != left_out and pair[0] not in names]

    properties.admits_what_the_contract_allows(an_object(pairs + others).encode())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"question": None}, "question"),
        ({"question": 7}, "question"),
        ({"question": ["Why?"]}, "question"),
        ({"question": ""}, "question"),
        ({"question": " \n\t\u3000"}, "question"),
        ({"question": "a\0b"}, "question"),
        ({"question": "\ud83d"}, "question"),
        ({"user_id": None}, "user_id"),
        ({"client_id": True}, "client_id"),
        ({"product_id": ""}, "product_id"),
        ({"stream": None}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream": "true"}, "stream"),
        ({"history": None}, "history"),
        ({"history": {}}, "history"),
        ({"history": [{"role": "user", "content": ""}] * 1001}, "history"),
        ({"history": ["Hi"]}, "history[0]"),
        ({"history": [{"content": "Hi"}]}, "history[0].role"),
        ({"history": [{"role": "tool", "content": "Hi"}]}, "history[0].role"),
        ({"history": [{"role": ["user"], "content": "Hi"}]}, "history[0].role"),
        ({"history": [{"role": "user", "content": ""}] * 2 + [{"role": "x"}]}, "history[2].role"),
        ({"history": [{"role": "user"}]}, "history[0].content"),
        ({"history": [{"role": "user", "content": None}]}, "history[0].content"),
        ({"history": [{"role": "user", "content": "a\0"}]}, "history[0].content"),
        ({"history": [{"role": "user", "content": "\udc00"}]}, "history[0].content"),
    ],
)
def test_a_wrong_field_is_named(fields, param):
    assert param_of(ChatRequest.from_json, body(**fields)) == param


@pytest.mark.parametrize("name", FIELDS)
def test_a_missing_field_is_named(name):
    data = json.dumps({key: value for key, value in FIELDS.items() if key != name}).encode()

    assert param_of(ChatRequest.from_json, data) == name


def test_fields_are_checked_in_a_fixed_order():
    wrong = dict.fromkeys(["history", "stream", "product_id", "client_id", "user_id", "question"])

    named = []
    while wrong:
        named.append(param_of(ChatRequest.from_json, body(**wrong)))
        del wrong[named[-1]]

    assert named == ["question", "user_id", "client_id", "product_id", "stream", "history"]


def test_a_history_may_be_long_and_its_turns_empty_or_with_unknown_keys():
    got = ChatRequest.from_json(body(history=[{"role": "system", "content": "", "name": 7}] * 1000))

    assert got.history == (Message("system", ""),) * 1000
