"""What of an upstream's words is masked, and what stays."""

import pytest

from gptdock.upstream.masks import mask


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-A1b2C3d4E5f6G7h8",
        "sk-abcdefghijkl",
        "sk-abc***************wxyz",
        "sk_live_0123456789",
        "gsk_A1b2C3d4E5f6G7h8",
        "xai-A1b2C3d4E5f6G7h8",
        "AIzaSyA1b2C3d4E5f6G7h8",
        "org-A1b2C3d4E5f6G7h8",
        "0123456789abcdef0123456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-bmF_0dXJl",
        "Bearer abc",
        "our own",
    ],
)
@pytest.mark.parametrize("words", ["Wrong: {}", "Wrong: '{}'.", "{}", "(key={})", "a {} and {}"])
def test_whatever_looks_like_a_key_is_masked(words, key):
    masked = mask(words.replace("{}", key), "our own")

    assert key not in masked
    assert masked.count("***") == words.count("{}")


OURS = [
    "1f2e3d4c-5b6a-7988-9a0b-1c2d3e4f5a6b",
    "a.b/c+d=efgh~ij",
    "only-letters-here",
    "odd-(characters)-[and]+more?",
]


@pytest.mark.parametrize("words", ["Wrong: {}", "Wrong: '{}'.", "{}", "(key={})", "x{}x", "{} and {}"])
@pytest.mark.parametrize("key", OURS)
def test_our_own_key_is_masked_whatever_its_shape(key, words):
    assert mask(words.replace("{}", key), key) == words.replace("{}", "***")
    assert key.upper() not in mask(words.replace("{}", key.upper()), key)


@pytest.mark.parametrize("key", OURS)
@pytest.mark.parametrize("form", ["{:.4}****{}", "{:.8}*******{}", "{:.4}...{}", "{:.6}…{}", "****{1}", "{:.8}*"])
def test_our_own_key_is_masked_as_it_is_abbreviated(key, form):
    masked = mask(f"Incorrect API key provided: {form.format(key, key[-4:])}. You can find", key)

    assert masked == "Incorrect API key provided: ***. You can find"


@pytest.mark.parametrize("key", OURS)
def test_a_long_part_of_our_own_key_is_masked(key):
    assert mask(f"starts with {key[:9]}, ends with {key[-9:]}", key) == "starts with ***, ends with ***"


def test_a_short_key_of_our_own_is_masked_whole():
    assert mask("abc and ab", "abc") == "*** and ab"


@pytest.mark.parametrize(
    "words",
    [
        "The model `gpt-4o-mini-realtime-preview-2024-12-17` does not exist.",
        "Invalid value for 'messages[0].content[1].image_url.url': expected https://example.com/a.png",
        "'max_completion_tokens' is too large: 100000. This model supports at most 16384 completion tokens.",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "Invalid schema for function 'look': In context=('properties', 'key'), 'type' is not one of the API keys.",
        "",
    ],
)
def test_words_that_are_no_keys_stay(words):
    assert mask(words, "our own") == words


def test_a_key_is_masked_whatever_stands_before_it():
    assert mask("my_key_0123456789abcdef0123456789abcdef") == "my_key_***"
