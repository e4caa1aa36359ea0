"""An upstream that goes on beyond its limit is cut; an answer within it never is, and is seldom looked at."""

import json
from collections.abc import Callable

import pytest

from gptdock.dev.script import Script
from gptdock.errors import UpstreamError
from gptdock.http.overrun import Overrun
from gptdock.routes.chat_answers import FORMAT
from gptdock.upstream.meter import Meter
from tests.harness.chunks import chunk, event
from tests.harness.hostile import check_nothing_is_left
from tests.harness.service import Service, sse_data
from tests.harness.upstream_faults import BROKEN
from tests.http.test_openai_routes import complete


@pytest.mark.usefixtures("each_flow")
async def test_a_stream_far_beyond_its_limit_is_cut_and_charged_by_its_hold(service: Service, caplog):
    service.openai.script = Script(tokens=20_000, overrun=True)

    async with complete(service, stream=True, max_tokens=16) as response:
        *events, last = sse_data(await response.read())

    await service.openai.journal.left()
    [record], [receipt] = service.openai.journal, await service.receipts()
    assert json.loads(last)["error"]["code"] == BROKEN.code
    assert 2 * 16 < len(events) < 5000
    assert record.aborted
    assert "upstream ignored the limit of an answer" in caplog.text
    assert (receipt["source"], receipt["outcome"]) == ("counted", "upstream_error")
    assert receipt["tokens"] == record.prompt_tokens + 8 + 16
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_one_event_far_beyond_the_limit_is_a_502(service: Service):
    text = json.dumps({"choices": [{"index": 0, "delta": {"content": "word " * 200_000}}]})
    service.openai.script = Script(raw=f"data: {text}\n\ndata: [DONE]\n\n".encode())

    async with complete(service, stream=True, max_tokens=16) as response:
        assert (response.status, response.headers["x-should-retry"]) == (502, "false")

    [receipt] = await service.receipts()
    assert receipt["tokens"] == receipt["prompt_tokens"] + 8 + 16


@pytest.mark.parametrize("length", [16, 17, 30])
async def test_a_stream_a_little_beyond_its_limit_is_whole(service: Service, length: int):
    service.openai.script = Script(tokens=length, overrun=True)

    async with complete(service, stream=True, max_tokens=16) as response:
        assert sse_data(await response.read())[-1] == b"[DONE]"

    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


Count = Callable[[str], int]


def looks(count: Count, limit: int, piece: str, pieces: int) -> list[int]:
    """At which sizes of the text it was counted, which ends with an UpstreamError if it is too long."""
    meter, sizes = Meter(FORMAT), []

    def noting(text: str) -> int:
        sizes.append(meter.text_bytes)
        return count(text)

    overrun = Overrun(meter, limit, noting)
    for _ in range(pieces):
        meter.read(event(chunk(piece)))
        overrun.note(0, meter.text_bytes)
    return sizes


def words(text: str) -> int:
    return len(text.split())


def test_an_answer_within_its_limit_is_counted_once_if_at_all():
    assert looks(words, 1000, "abc ", 1000) == []
    assert len(looks(words, 1000, "abcde ", 1000)) == 1


@pytest.mark.parametrize("limit", [1, 16, 1000, 100_000])
@pytest.mark.parametrize("piece", ["a ", "abcde ", "ab " * 10_000, "é " * 7])
def test_more_than_twice_the_limit_and_some_is_too_much(limit: int, piece: str):
    most = 2 * limit + 256
    each = words(piece)

    looks(words, limit, piece, most // each)
    with pytest.raises(UpstreamError):
        looks(words, limit, piece, 4 * most // each + 2000)


def test_a_text_that_only_begins_densely_is_not_cut():
    assert looks(words, 1000, "a " * 2000 + "b" * 16_000, 1) != []


def test_a_long_text_is_counted_a_few_times_only():
    assert len(looks(lambda text: 0, 1000, "word " * 100, 1000)) < 120


@pytest.mark.usefixtures("each_flow")
@pytest.mark.parametrize("frame", [{"choices": [{"delta": {"foo": "one two "}}]}, {"text": "one two "}, "one two "])
async def test_a_stream_of_text_in_fields_nobody_knows_is_counted_and_bounded(service: Service, frame: object):
    data = f"data: {json.dumps(frame)}\n\n".encode()
    role = b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
    service.openai.script = Script(raw=role + data * 5)
    async with complete(service, stream=True, max_tokens=16) as response:
        assert len(sse_data(await response.read())) == 7

    service.openai.script = Script(raw=role + data * 2000, piece=10_000)
    async with complete(service, stream=True, max_tokens=16) as response:
        assert len(await response.read()) < len(data) * 2000

    little, much = await service.receipts_as_asked()
    assert (little["source"], little["completion_tokens"]) == ("counted", 11)
    assert much["tokens"] == much["prompt_tokens"] + 8 + 16


async def test_a_stream_of_too_many_bytes_is_cut_whatever_they_are(service: Service):
    service.openai.script = Script(raw=b'data: {"obfuscation": "%b"}\n\n' % (b"x" * 100_000) * 40)

    async with complete(service, stream=True, max_tokens=16) as response:
        body = await response.read()

    assert b"exceeds its limit" in body
    assert len(body) < 8192 * (2 * 16 + 256) + 1_000_000


async def test_twenty_likely_tokens_beside_each_token_are_not_too_many_bytes(service: Service):
    likely = [{"token": " token", "logprob": -0.12345678, "bytes": [32, 116, 111, 107, 101, 110]}] * 20
    choice = {"index": 0, "delta": {"content": " token"}, "logprobs": {"content": [{"top_logprobs": likely}]}}
    event = f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
    service.openai.script = Script(raw=event * 100 + b"data: [DONE]\n\n")

    async with complete(service, stream=True, max_tokens=100) as response:
        assert (await response.read()).endswith(b"[DONE]\n\n")
