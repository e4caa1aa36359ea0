"""How tokens are counted, and where."""

import asyncio
import json
import sys
import threading
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from gptdock.prompt import tokens
from gptdock.prompt.tokens import Tokens

RECORDED = Path(__file__).parents[1] / "data"
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def o200k():
    counter = Tokens("gpt-4o-mini")
    yield counter
    counter.close()


@pytest.fixture(scope="module")
def cl100k():
    counter = Tokens("gpt-3.5-turbo")
    yield counter
    counter.close()


def test_a_recorded_answer_counts_what_its_usage_says(cl100k):
    answer = json.loads((RECORDED / "ask_response.json").read_text())

    counted = cl100k.count(answer["choices"][0]["message"]["content"])

    assert counted == answer["usage"]["completion_tokens"] == 57


def test_a_recorded_stream_brings_one_token_an_event(cl100k):
    lines = (RECORDED / "ask_stream.sse").read_text().splitlines()
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    pieces = [
        chunk["choices"][0]["delta"]["content"] for chunk in chunks if chunk["choices"][0]["delta"].get("content")
    ]

    text = "".join(pieces)

    assert cl100k.count(text) == len(pieces) == 51
    assert cl100k.pieces(text) == pieces


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-3.5-turbo-0301", "cl100k_base"),
        ("ft:gpt-4o-mini:us::1", "o200k_base"),
        ("nobody-knows", "o200k_base"),
        ("", "o200k_base"),
        ("gpt2", "o200k_base"),
        ("text-davinci-003", "o200k_base"),
        ("gpt-oss-20b", "o200k_base"),
    ],
)
def test_every_model_has_an_encoding_that_is_shipped(model, name):
    assert tokens.encoding_name(model) == name


@pytest.mark.parametrize("special", ["<|endoftext|>", "<|fim_prefix|>", "<|endofprompt|>"])
def test_special_tokens_in_a_text_are_text(o200k, cl100k, special):
    assert o200k.count(special) > 1
    assert cl100k.count(special) > 1


def test_each_of_several_models_counts_with_its_own_encoding(o200k, cl100k):
    text = "Γειά σου Κόσμε"
    several = Tokens("gpt-4o-mini", "gpt-3.5-turbo", "gpt-4o")

    counts = [several.count(text, model) for model in ("gpt-4o-mini", "gpt-3.5-turbo", "gpt-4o", "nobody-s")]

    few, many = o200k.count(text), cl100k.count(text)
    assert few < many
    assert counts == [few, many, few, few]
    several.close()


def test_a_counter_of_a_model_is_the_same_for_each_request(tokens: Tokens):
    counter = tokens.counter("gpt-3.5-turbo")

    assert tokens.counter("gpt-3.5-turbo") is counter is not tokens.counter("gpt-4o-mini")
    assert counter("Hallo Welt") == tokens.count("Hallo Welt", "gpt-3.5-turbo")


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_counts_at_most_its_bytes(o200k, text):
    counted = o200k.count(text)

    assert bool(text) <= counted <= len(text.encode("utf-8", "surrogatepass"))


def test_an_encoding_is_kept_in_its_compiled_form_alone():
    encoding = tokens.load("o200k_base")

    assert sum(map(sys.getsizeof, vars(encoding).values())) < 2**20


def test_a_lone_surrogate_counts_as_its_replacement(o200k):
    assert o200k.count("a\ud800b") == o200k.count("a\ufffdb")


def test_a_panic_in_the_tokenizer_becomes_an_overestimate(o200k, capfd):
    """The panic is real: tiktoken's regular expression runs out of stack. What it prints does not contain the text."""
    text = " " * MEBIBYTE + "\ud800"

    counted = o200k.count(text)

    assert counted == MEBIBYTE + 3
    assert "panicked" in capfd.readouterr().err
    assert o200k.count("still here") == 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_exception_that_stops_a_process_is_not_swallowed(monkeypatch, stop):
    class Stopped:
        def encode_ordinary(self, text):
            raise stop

    monkeypatch.setattr(tokens, "load", lambda name: Stopped())

    with pytest.raises(stop):
        Tokens("gpt-4o").count("a")


def test_pieces_are_the_tokens_of_a_text_with_half_characters_replaced(o200k):
    assert o200k.pieces("Hello, world") == ["Hello", ",", " world"]
    assert len(o200k.pieces("𒀀")) == o200k.count("𒀀") > 1
    assert set(o200k.pieces("𒀀")) == {"\ufffd"}


async def test_a_short_text_is_counted_at_once_and_a_long_one_in_a_thread(o200k):
    here = await o200k.run(8192, threading.get_ident)
    elsewhere = await o200k.run(8193, threading.get_ident)

    assert here == threading.get_ident()
    assert elsewhere != threading.get_ident()


async def test_counting_a_long_text_leaves_the_loop_free(o200k):
    """Turns of the loop: 90,000 to 230,000 were measured, even on a busy machine; under 7,000 if the GIL is held."""
    began, ended, ticks = threading.Event(), threading.Event(), 0

    def count():
        began.set()
        counted = o200k.count("a" * MEBIBYTE)
        ended.set()
        return counted

    counting = asyncio.ensure_future(o200k.run(MEBIBYTE, count))
    while not ended.is_set():
        ticks += began.is_set()
        await asyncio.sleep(0)

    assert await counting == 131_072
    assert ticks > 20_000


async def test_a_closed_counter_has_no_thread_left():
    counter = Tokens("gpt-4o")
    ran = await counter.run(MEBIBYTE, threading.current_thread)

    counter.close()
    ran.join(timeout=10)

    assert not ran.is_alive()


class Counting:
    """An encoding that notes what it is asked to encode."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self.asked: list[str] = []
        self._encoding = encoding

    def encode_ordinary(self, text: str) -> list[int]:
        self.asked.append(text)
        return self._encoding.encode_ordinary(text)


def test_texts_that_recur_are_counted_once_but_for_long_ones(monkeypatch):
    counter = Tokens("gpt-4o-mini", "gpt-3.5-turbo")
    encoding = Counting(tokens.load("o200k_base"))
    monkeypatch.setattr(counter, "_encoding", encoding)
    word, message, long = "user", "What comes in? " * 100, "What comes in? " * 200

    counted = [[counter.count(text) for text in (word, message, long)] for _ in range(2)]

    assert encoding.asked == [word, message, long, long]
    assert counted[0] == counted[1] == [1, 401, 801]
    assert counter.count("Γειά σου, κόσμε των αριθμών", "gpt-3.5-turbo") > counter.count("Γειά σου, κόσμε των αριθμών")
    counter.close()
