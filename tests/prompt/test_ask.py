import json
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptdock import accounts
from gptdock.errors import InvalidRequest, PromptTooLong
from gptdock.prompt import ask, strict_json
from gptdock.prompt.ask import ChatRequest, Message, Prompt
from tests.harness import properties

FIELDS = {"question": "Why?", "user_id": "u", "client_id": "c", "product_id": "p"}
HISTORIES = st.lists(st.builds(Message, st.sampled_from(ask.ROLES), st.text(max_size=20)), max_size=12)


def body(**fields):
    return json.dumps(FIELDS | fields).encode()


def param_of(call, *arguments):
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments)
    assert caught.value.status == 400
    return caught.value.param


def request(question="Why?", history=()):
    return ChatRequest(question, "u", "c", "p", False, tuple(history))


# ------------------------------------------------------------------------------------------------------ the body


def test_a_body_becomes_a_request():
    data = body(client_id=1234, stream=True, history=[{"role": "user", "content": "Hi"}], unknown={"a": None})

    got = ChatRequest.from_json(data)

    assert got == ChatRequest("Why?", "u", "1234", "p", True, (Message("user", "Hi"),))


def test_stream_and_history_may_be_left_out():
    got = ChatRequest.from_json(body())

    assert (got.stream, got.history) == (False, ())


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
def test_what_is_not_strict_json_is_refused(data):
    assert param_of(strict_json.parse_object, data) == "body"
    assert param_of(ChatRequest.from_json, data) == "body"


def test_strict_json_is_read():
    assert strict_json.parse_object('{"a": [1, 2.5, -1e3, null, "é"]}'.encode()) == {"a": [1, 2.5, -1000.0, None, "é"]}


@given(st.binary(), st.sampled_from([b"", b"{", b'{"question": ', b"[", b"\xff"]))
def test_no_bytes_become_anything_but_a_request_or_a_400(data, start):
    properties.admits_what_the_contract_allows(start + data)


# JSON as its text, since a value cannot have a key twice; written so that whatever parsers disagree on is near.
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
def test_no_json_becomes_anything_but_a_request_or_a_400(others, left_out, turns, replace):
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


# -------------------------------------------------------------------------------------------------------- the ids


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a", "a"),
        ("a#b", "a#b"),
        ("a/b", "a/b"),
        (" ", " "),
        ("\xa0", "\xa0"),
        ("😀", "😀"),
        ("é" * 127 + "x", "é" * 127 + "x"),
        (0, "0"),
        (-7, "-7"),
        (10**254, "1" + "0" * 254),
        (-(10**253), "-1" + "0" * 253),
    ],
)
def test_an_id_is_a_string_or_an_integer(value, name):
    assert accounts.identity(value, "client_id") == name


@pytest.mark.parametrize(
    "value",
    [
        *["", "a" * 256, "é" * 128, "😀" * 64, "a\nb", "\0", "\x7f", "\x85", "\ud800", "a\udcff"],
        *[True, False, None, 1.0, [], {}, b"a", 10**255, -(10**254), 10**5000, -(10**5000)],
    ],
    ids=lambda value: f"{value!a:.20}" if not isinstance(value, int) else f"{value.bit_length()} bits",
)
def test_anything_else_is_no_id(value):
    assert param_of(accounts.identity, value, "X-Client-Id") == "X-Client-Id"


@given(st.text() | st.text(max_size=2) | st.characters(categories=["Cc", "Cf", "Zl", "Cs", "Co"]))
def test_a_string_is_an_id_by_its_bytes_and_its_categories(text):
    categories = {unicodedata.category(character) for character in text}
    good = categories.isdisjoint({"Cc", "Cs"}) and 1 <= len(text.encode("utf-8", "replace")) <= 255

    if good:
        assert accounts.identity(text, "user_id") == text
    else:
        assert param_of(accounts.identity, text, "user_id") == "user_id"


@given(st.integers())
def test_an_integer_is_its_digits(number):
    assert accounts.identity(number, "user_id") == str(number)


# ----------------------------------------------------------------------------------------------------- the prompt


def test_a_message_costs_its_role_its_content_and_three_tokens():
    assert ask.count_message(Message("user", "12345"), len) == 3 + 4 + 5


@given(HISTORIES, st.integers(-5, 400))
def test_the_longest_newest_part_that_fits_is_kept(history, budget):
    kept = ask.trim_history(history, budget, len)

    def cost(messages):
        return sum(ask.count_message(message, len) for message in messages)

    assert kept == tuple(history[len(history) - len(kept) :])
    assert not kept or cost(kept) <= budget
    assert len(kept) == len(history) or cost(history[-len(kept) - 1 :]) > budget


@pytest.mark.parametrize(
    ("budget", "needed"), [(19, ["c", "b", "aa"]), (18, ["c", "b"]), (15, ["c", "b"]), (10, ["c"]), (2, [])]
)
def test_nothing_is_counted_that_cannot_be_kept(budget, needed):
    history = [Message("user", "aa"), Message("user", "b"), Message("user", "c")]
    seen = []

    def count(text):
        seen.append(text)
        return len(text)

    ask.trim_history(history, budget, count)

    assert [text for text in seen if text != "user"] == needed


def test_a_prompt_is_system_then_history_then_question():
    history = [Message("user", "Hi"), Message("assistant", "Hello")]

    prompt = ask.assemble(request("Why?", history), system="Be kind.", max_prompt_tokens=1000, count=len)

    assert prompt.messages == (Message("system", "Be kind."), *history, Message("user", "Why?"))
    assert prompt.tokens == (3 + 6 + 8) + (3 + 4 + 2) + (3 + 9 + 5) + (3 + 4 + 4) + 3


def test_an_empty_system_prompt_is_left_out():
    prompt = ask.assemble(request("Why?"), system="", max_prompt_tokens=100, count=len)

    assert prompt == Prompt((Message("user", "Why?"),), 3 + 4 + 4 + 3)


def test_the_oldest_turns_give_way():
    history = [Message("user", "old"), Message("user", "new")]

    prompt = ask.assemble(request("Why?", history), system="", max_prompt_tokens=14 + 10, count=len)

    assert prompt == Prompt((Message("user", "new"), Message("user", "Why?")), 24)


@pytest.mark.parametrize("system", ["", "Be kind."])
def test_a_question_may_fill_the_prompt_but_not_more(system):
    fits = 14 + (17 if system else 0)

    prompt = ask.assemble(request("Why?"), system=system, max_prompt_tokens=fits, count=len)
    with pytest.raises(PromptTooLong) as caught:
        ask.assemble(request("Why?"), system=system, max_prompt_tokens=fits - 1, count=len)

    assert prompt.tokens == fits
    assert caught.value.param == "question"


@given(HISTORIES, st.text(max_size=20), st.integers(60, 400))
def test_a_prompt_costs_what_its_messages_cost_and_never_more_than_allowed(history, system, budget):
    prompt = ask.assemble(request("Why?", history), system=system, max_prompt_tokens=budget, count=len)

    assert prompt.tokens == 3 + sum(ask.count_message(message, len) for message in prompt.messages)
    assert prompt.tokens <= budget


def test_no_text_is_counted_twice():
    seen = []

    def count(text):
        seen.append(text)
        return len(text)

    ask.assemble(request("Why?", [Message("user", "Hi")]), system="Be kind.", max_prompt_tokens=100, count=count)

    assert sorted(seen) == ["Be kind.", "Hi", "Why?", "system", "user"]


def test_a_system_prompt_is_filled_in_by_plain_replacement():
    template = "{model} at {now}: {now}, {{model}}, {other} {0} {"

    assert ask.fill_system_prompt(template, model="m", now="n") == "m at n: n, {m}, {other} {0} {"


# --------------------------------------------------------------------------------------------- the upstream's body

PROMPT = Prompt((Message("system", "Be kind."), Message("user", 'Why "é😀"?')), 20)


def test_the_upstream_gets_compact_json_and_nothing_about_who_asked():
    data = ask.upstream_body(
        PROMPT, model="gpt-4o-mini", params={"temperature": 0.6}, stream=False, max_completion_tokens=100
    )

    assert json.loads(data) == {
        "temperature": 0.6,
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": 'Why "é😀"?'}],
        "n": 1,
        "max_completion_tokens": 100,
    }
    assert b'{"temperature":0.6,"model":"gpt-4o-mini","messages":[{"role":"system","content":"Be kind."},' in data


def test_a_stream_is_asked_for_with_its_usage():
    whole = ask.upstream_body(PROMPT, model="m", params={}, stream=False, max_completion_tokens=1)
    stream = ask.upstream_body(PROMPT, model="m", params={}, stream=True, max_completion_tokens=1)

    added = {"stream": True, "stream_options": {"include_usage": True}}
    assert json.loads(stream) == json.loads(whole) | added


def test_parameters_do_not_decide_what_it_costs():
    params = {"n": 5, "model": "dear", "messages": [], "max_completion_tokens": 10**6, "stream": 0, "stream_options": 0}

    with_params = ask.upstream_body(PROMPT, model="m", params=params, stream=True, max_completion_tokens=1)

    without = ask.upstream_body(PROMPT, model="m", params={}, stream=True, max_completion_tokens=1)
    assert json.loads(with_params) == json.loads(without)
