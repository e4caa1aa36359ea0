"""`/v1/ask`, as a caller meets it."""

import json

import pytest

from gptdock.dev.script import Script
from tests.harness.hostile import (
    Fault,
    fault_of,
    question,
)
from tests.harness.service import QUESTION, sse_data

PLAIN = {"system_prompt": "Be kind."}  # the usual one tells the time: its tokens are not always as many
BAD_JSON = {
    b"": "body",
    b"{": "body",
    b"[]": "body",
    b"null": "body",
    b'"question"': "body",
    b"[" * 100_000: "body",
    b'{"":' * 60_000: "body",
    b'{"question": "q", "client_id": ' + b"9" * 5000 + b"}": "body",
    b'{"question": NaN}': "body",
    b'{"x": 1e999}': "body",
    b'{"question": "a", "question": "b"}': "body",
    b"\xef\xbb\xbf{}": "body",
    b'{"question": "\xff"}': "body",
    json.dumps(QUESTION).encode("utf-16"): "body",
    b'{"question": "\\ud800"}': "question",
    b'{"question": "\\u0000"}': "question",
    b"{}": "question",
    question(question=" \n"): "question",
    question(question=7): "question",
    question(client_id=True): "client_id",
    question(client_id=1.0): "client_id",
    question(client_id=""): "client_id",
    question(client_id="x" * 256): "client_id",
    question(client_id="é" * 128): "client_id",
    question(product_id=None): "product_id",
    question(product_id="a\nb"): "product_id",
    question(user_id={}): "user_id",
    question(user_id="\ud800"): "user_id",
    question(stream="true"): "stream",
    question(stream=None): "stream",
    question(history={}): "history",
    question(history=[{"role": "tool", "content": "x"}]): "history[0].role",
    question(history=[{"role": "user", "content": "x"}, {"role": "user"}]): "history[1].content",
}


async def test_a_bad_question_is_refused_and_its_field_named(service):
    faults = {}
    for body in BAD_JSON:
        async with service.session.post(f"{service.url}/v1/ask", data=body) as response:
            faults[body] = await fault_of(response)

    assert faults == {body: Fault(400, "invalid_request", param) for body, param in BAD_JSON.items()}
    assert service.openai.requests == 0
    async with service.session.get(f"{service.url}/v1/client/info?client_id=c1&product_id=p1") as response:
        assert await fault_of(response) == Fault(404, "client_not_found")


async def test_unknown_fields_are_ignored_and_ids_may_be_integers(service):
    async with service.ask(client_id=1234, user_id=-7, temperature=9, model="gpt-4", n=5) as response:
        assert response.status == 200

    assert service.openai.journal[0].request["n"] == 1
    assert service.openai.journal[0].model == "gpt-4o-mini"
    assert (await service.info("1234"))["quota_used"] == service.openai.journal[0].spent
    [receipt] = await service.receipts("1234")
    assert receipt["user"] == "-7"


@pytest.mark.parametrize("stream", [True, False])
async def test_the_upstream_is_asked_for_one_answer_that_the_hold_can_pay(serve, stream):
    history = [{"role": "assistant", "content": "Hi"}]
    changes = PLAIN | {"openai_params": '{"temperature": 0.5}', "max_completion_tokens": "77"}
    async with serve(**changes) as service, service.ask(stream=stream, history=history) as response:
        await response.read()

    asked = service.openai.journal[0].request
    assert asked == {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "Who are you?"},
        ],
        "n": 1,
        "max_completion_tokens": 77,
        "temperature": 0.5,
    } | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})


async def test_a_whole_answer_is_the_upstream_s_byte_for_byte(service):
    raw = b'{ "choices":[],  "usage":{"total_tokens":5},"new":"\xc3\xa9" }\n'
    service.openai.script = Script(raw=raw)

    async with service.ask() as response:
        assert await response.read() == raw

    assert response.content_type == "application/json"
    assert (await service.info())["quota_used"] == 5


async def test_a_stream_has_the_headers_that_proxies_need(service):
    async with service.ask(stream=True) as response:
        events = sse_data(await response.read())

    assert events[-1] == b"[DONE]"
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_question_that_does_not_fit_alone_is_too_long(serve, stream):
    async with serve(max_prompt_tokens=50) as service, service.ask(stream=stream, question="why " * 50) as response:
        assert await fault_of(response) == Fault(400, "prompt_too_long", "question")

    assert service.openai.requests == 0


async def test_the_newest_history_that_fits_is_sent(serve):
    history = [{"role": "user", "content": f"{number} " + "word " * 20} for number in range(10)]
    async with serve(max_prompt_tokens=100, **PLAIN) as service, service.ask(history=history) as response:
        assert response.status == 200

    record = service.openai.journal[0]
    sent = record.request["messages"][1:-1]
    assert sent == history[-len(sent) :]
    assert record.prompt_tokens <= 100 < record.prompt_tokens + 20 + 5
