"""The answers of the simulated OpenAI, and the tokens that it counts."""

import pytest

from gptdock.dev.openai import serve_openai
from gptdock.dev.script import Script
from tests.harness.simulated import PROMPT_TOKENS, QUESTION, ask, chunks, read_stream, stream, text, three_words


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_stops_at_its_limit(server, session, name):
    data = await read_stream(server, session, **{name: 2})

    assert text(data) == "one two"
    assert chunks(data)[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks(data)[-1]["usage"]["completion_tokens"] == 2


async def test_a_limit_may_be_overrun(server, session):
    server.script = three_words(overrun=True)

    data, _ = await stream(server, session, max_completion_tokens=1)

    assert chunks(data)[-1]["usage"]["completion_tokens"] == 3


async def test_tokens_are_counted_by_the_function_given(session):
    async with serve_openai(pieces=list, script=Script(answer="abc")) as server, ask(server, session) as response:
        answer = await response.json()

    texts = "".join(message["role"] + message["content"] for message in QUESTION)
    assert answer["usage"]["prompt_tokens"] == len(texts) + 9
    assert answer["usage"]["completion_tokens"] == 3


async def test_a_message_in_parts_counts_like_its_text(server, session):
    parts = [{"type": "text", "text": "How are"}, {"type": "text", "text": " you?"}]

    async with ask(server, session, messages=[QUESTION[0], {"role": "user", "content": parts}]) as response:
        answer = await response.json()

    assert answer["usage"]["prompt_tokens"] == PROMPT_TOKENS


async def test_the_usual_answer_is_ascii_and_echoes_the_question(session):
    async with serve_openai() as server:
        data = await read_stream(server, session, messages=[{"role": "user", "content": "Où es-tu?"}])

    assert text(data).isascii()
    assert "9 characters" in text(data)
    assert "O? es-tu?" in text(data)


@pytest.mark.parametrize("usage", [0, 1, -1, "many", {"total_tokens": 0}, None])
async def test_a_usage_may_be_anything(server, session, usage):
    server.script = three_words(usage=usage)

    data, _ = await stream(server, session)
    async with ask(server, session) as response:
        whole = await response.json()

    assert chunks(data)[-1]["choices"] == []
    assert (chunks(data)[-1]["usage"], whole["usage"]) == (usage, usage)
    assert [record.usage for record in server.journal] == [usage, usage]


async def test_a_usage_may_be_left_out(server, session):
    server.script = three_words(usage=False)

    data, _ = await stream(server, session)
    async with ask(server, session) as response:
        whole = await response.read()

    assert b"usage" not in data + whole
    assert [record.spent for record in server.journal] == [PROMPT_TOKENS + 3] * 2


async def test_an_answer_has_as_many_tokens_as_the_script_says(server, session):
    server.script = three_words(tokens=1000)

    data, _ = await stream(server, session)

    assert len(chunks(data)) == 1000 + 3
    assert (server.journal[0].generated, server.journal[0].usage["completion_tokens"]) == (1000, 1000)


async def test_an_answer_is_repeated_by_whole_tokens(server, session):
    server.script = three_words(tokens=4)

    async with ask(server, session) as response:
        answer = await response.json()

    assert answer["choices"][0]["message"]["content"] == " one two three one"
