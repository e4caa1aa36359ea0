"""`/v1/responses` through the whole service: what comes down, whether it is whole, and what is charged."""

import json
from typing import Any

import pytest

from gptdock.dev.script import Script
from tests.harness.hostile import Fault, check_nothing_is_left, fault_of, start_drain
from tests.harness.openai_types import check_event
from tests.harness.service import Service

WHO = {"X-Client-Id": "c1", "X-Product-Id": "p1", "X-User-Id": "u7"}
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


def respond(service: Service, **fields: Any):
    """POST /v1/responses; to be used with `async with`."""
    body = {"model": "gpt-4o-mini", "input": "Who are you?"} | fields
    return service.session.post(f"{service.url}/v1/responses", json=body, headers=WHO)


def events(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each of which must have its name before its data."""
    *blocks, rest = body.split(b"\n\n")
    found = []
    for block in blocks:
        name, data = block.split(b"\n")
        found.append(json.loads(data.removeprefix(b"data: ")))
        assert name == f"event: {found[-1]['type']}".encode()
    assert rest == b""
    numbers = [event["sequence_number"] for event in found]
    assert numbers == sorted(set(numbers))
    return found


async def read_events(service: Service, **fields: Any) -> list[dict[str, Any]]:
    async with respond(service, stream=True, **fields) as response:
        assert response.status == 200
        return events(await response.read())


async def test_a_stream_is_passed_on_as_it_came_and_charged_by_its_last_event(service: Service):
    found = await read_events(service)

    for event in found:
        check_event(event)
    assert found[-1]["type"] == "response.completed"
    assert found[-1]["response"]["usage"]["total_tokens"] == service.openai.journal[0].spent
    [receipt] = await service.receipts()
    assert (receipt["user"], receipt["source"], receipt["outcome"]) == ("u7", "upstream", "complete")
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_a_whole_answer_is_the_upstream_s_and_the_request_the_caller_s(service: Service):
    fields = {
        "instructions": "Be brief.",
        "store": False,
        "max_output_tokens": 33,
        "text": {"format": {"type": "text"}},
    }
    async with respond(service, **fields) as response:
        answer = await response.json()

    assert (answer["object"], answer["status"]) == ("response", "incomplete")
    request = service.openai.journal[0].request
    assert request == {"model": "gpt-4o-mini", "input": "Who are you?", "stream": False} | fields
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["completion_tokens"]) == ("upstream", 33)
    await check_nothing_is_left(service, used=answer["usage"]["total_tokens"])


async def test_reasoning_in_the_upstream_s_store_is_paid_for_before_it_is_recalled(serve):
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    async with serve(default_token_quota=900, max_completion_tokens=1000) as service:
        async with respond(service, input=[{"role": "user", "content": "Why?"}, thought]) as response:
            assert response.status == 402

        assert service.openai.requests == 0


@both_ways
async def test_a_quota_that_is_nearly_used_up_shortens_the_answer(serve, stream: bool):
    async with serve(default_token_quota=60) as service:
        service.openai.script = Script(tokens=500)
        async with respond(service, stream=stream) as response:
            body = await response.read()

        limit = service.openai.journal[0].request["max_output_tokens"]
        assert 16 <= limit < 60
        answer = events(body)[-1]["response"] if stream else json.loads(body)
        assert (answer["status"], answer["usage"]["output_tokens"]) == ("incomplete", limit)
        assert await service.used() == service.openai.journal[0].spent <= 60
        async with respond(service, stream=stream) as response:
            assert await fault_of(response) == Fault(402, "insufficient_quota")


@pytest.mark.parametrize("cut_at", [*range(12), None])
async def test_a_stream_that_is_cut_at_any_event_is_counted_and_ends_with_an_error(
    service: Service, cut_at: int | None
):
    service.openai.script = Script(answer="one two three", cut="clean_no_done", cut_at=cut_at)

    if cut_at == 0:
        async with respond(service, stream=True) as response:
            assert await fault_of(response) == Fault(502, "upstream_error")
        return
    *_, last = await read_events(service)

    is_whole = cut_at is not None and cut_at == 11  # behind the last event
    if not is_whole:
        error = last.pop("error")
        last.pop("request_id")
        check_event(last)
        assert (last["type"], last["code"], error["code"]) == ("error", "upstream_error", "upstream_error")
    [receipt] = await service.receipts()
    record = service.openai.journal[0]
    assert receipt["tokens"] >= record.prompt_tokens + record.generated
    assert receipt["source"] == ("upstream" if is_whole else "counted")
    await check_nothing_is_left(service, used=receipt["tokens"])


@pytest.mark.parametrize("usage", [True, False])
async def test_a_response_that_failed_is_whole_and_charged_by_its_usage_if_it_has_one(service: Service, usage: bool):
    service.openai.script = Script(answer="one two three", failed=True, error_at=6, usage=usage)

    *_, last = await read_events(service)

    assert last["type"] == "response.failed"
    [receipt] = await service.receipts()
    record = service.openai.journal[0]
    assert (receipt["source"], receipt["outcome"]) == ("upstream" if usage else "counted", "complete")
    assert receipt["tokens"] >= record.prompt_tokens + record.generated


@both_ways
async def test_a_response_that_failed_tells_nothing_of_our_key_our_credit_or_our_rates(service: Service, stream: bool):
    key = "sk-upstream-secret"
    ours = [("invalid_api_key", "Wrong key."), ("insufficient_quota", "Pay."), ("rate_limit_exceeded", "Limit 7.")]
    hidden = ["The upstream failed.", "The account at the upstream is out of credit."]
    hidden += ["The upstream's rate limit is reached. Try again later.", "Not with ***."]
    for (code, words), message in zip([*ours, ("server_error", f"Not with {key}.")], hidden, strict=True):
        error = {"code": code, "message": words}
        service.openai.script = Script(answer="one two three", failed=True, error_at=6 if stream else None, error=error)
        async with respond(service, stream=stream) as response:
            body = await response.read()

        failed = events(body)[-1] if stream else {"type": "response.failed", "response": json.loads(body)}
        told = failed["response"]["error"]
        assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
        assert told == {"code": code if code.startswith("rate") else "server_error", "message": message}
    assert {receipt["source"] for receipt in await service.receipts()} == {"upstream"}


async def test_our_key_is_masked_in_whatever_event_an_error_stands(service: Service):
    error = {"code": "server_error", "message": "Not with sk-upstream-secret."}
    told: dict[str, Any] = {"in_progress": {"error": error}, "completed": {"status": "completed", "error": None}}
    events = [(f"response.{name}", {"response": response}) for name, response in told.items()]
    raw = b"".join(
        b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind} | fields).encode())
        for kind, fields in events
    )
    service.openai.script = Script(raw=raw)
    async with respond(service, stream=True) as response:
        body = await response.read()

    assert b"Not with ***." in body
    assert b"event: response.completed" in body
    assert b"sk-upstream" not in body


async def test_an_error_of_the_upstream_ends_the_stream_in_its_words(service: Service):
    error = {"message": "You wrote: a bad word", "code": "content_filter"}
    service.openai.script = Script(error_at=5, error=error)

    *_, last = await read_events(service)

    assert (last["type"], last["code"], last["message"]) == ("error", "content_filter", error["message"])
    assert [each["source"] for each in await service.receipts()] == ["counted"]


async def test_a_caller_who_leaves_pays_for_the_text_that_came(service: Service):
    service.openai.script = Script(tokens=50, stall_at=20)
    async with respond(service, stream=True) as response:
        while b"output_text.delta" not in await response.content.readuntil(b"\n\n"):
            pass

    [receipt] = await service.receipts()
    record = service.openai.journal[0]
    assert (receipt["source"], receipt["outcome"]) == ("counted", "caller_left")
    assert record.prompt_tokens < receipt["tokens"] <= record.prompt_tokens + 8 + 1000
    await check_nothing_is_left(service, used=receipt["tokens"])


async def test_an_answer_that_ignores_its_limit_is_cut(service: Service):
    service.openai.script = Script(tokens=3000, overrun=True)

    *_, last = await read_events(service, max_output_tokens=20)

    assert (last["type"], last["message"]) == ("error", "The upstream's answer exceeds its limit.")
    assert await service.used() >= service.openai.journal[0].prompt_tokens + 20


async def test_a_drain_ends_a_long_stream_with_an_error_event(serve):
    async with serve(drain_seconds=0.2) as service:
        service.openai.script = Script(tokens=50, stall_at=9)
        async with respond(service, stream=True) as response:
            await response.content.readuntil(b"output_text.delta")
            await start_drain(service)
            assert b'event: error\ndata: {"type":"error","code":"draining"' in await response.read()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"previous_response_id": "resp_1"}, Fault(400, "invalid_request", "previous_response_id")),
        ({"tools": [{"type": "web_search"}]}, Fault(400, "invalid_request", "tools[0]")),
        ({"input": "Why? " * 9000}, Fault(400, "prompt_too_long", "input")),
        ({"model": "gpt-9"}, Fault(404, "model_not_found", "model")),
    ],
)
async def test_what_is_refused_never_reaches_the_upstream(service: Service, fields: dict[str, Any], fault: Fault):
    async with respond(service, **fields) as response:
        assert await fault_of(response) == fault

    assert service.openai.requests == 0


@both_ways
async def test_a_refusal_of_the_upstream_is_told_in_its_words_and_free(service: Service, stream: bool):
    service.openai.script = Script(status=400, error={"message": "No.", "param": "input", "code": "odd_input"})

    async with respond(service, stream=stream) as response:
        assert await fault_of(response) == Fault(400, "odd_input", "input")

    await check_nothing_is_left(service, used=0)
