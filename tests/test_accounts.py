"""Which values are ids."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock import accounts
from tests.harness.params import param_of


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
def test_anything_else_is_not_an_id(value):
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
def test_an_integer_becomes_its_digits(number):
    assert accounts.identity(number, "user_id") == str(number)
