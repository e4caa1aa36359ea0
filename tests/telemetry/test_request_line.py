"""Each request has one line, with the fields that an operator needs."""

import asyncio
import json
import logging
from io import StringIO
from typing import Any

import pytest

from gptdock.dev.script import Script
from gptdock.telemetry import logs
from tests.harness.hostile import connect, raw_upstream, read_request
from tests.harness.service import QUESTION, Service

USUAL = {"time", "level", "logger", "message", "request_id"}
OF_A_REQUEST = {"method", "route", "status", "outcome", "ms"}
OF_WHOM = {"client", "product", "user", "model"}
OF_A_COMPLETION = OF_A_REQUEST | OF_WHOM | {"source", "tokens", "upstream_request_id"}


@pytest.fixture
def lines():
    """Returns the lines of requests that were logged until now, parsed."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.getLogger("gptdock.telemetry.request_line")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    logger.removeHandler(handler)
    logger.setLevel(before)


async def test_a_streamed_question_is_one_line_with_its_charge_and_its_times(service: Service, lines):
    async with service.ask(stream=True) as response:
        await response.read()
    await service.ledger.settled()

    [line] = lines()
    assert line.keys() == USUAL | OF_A_COMPLETION | {"first_event_ms"}
    assert line["message"] == "request ended"
    assert line["request_id"] == response.headers["X-Request-Id"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/ask", 200)
    assert (line["client"], line["product"], line["user"], line["model"]) == ("c1", "p1", "u7", "gpt-4o-mini")
    assert (line["outcome"], line["source"]) == ("complete", "upstream")
    assert line["tokens"] == service.openai.journal[0].spent
    assert 0 < line["first_event_ms"] < line["ms"]


async def test_a_whole_answer_has_no_first_event(service: Service, lines):
    async with service.ask() as response:
        await response.read()
    await service.ledger.settled()

    [line] = lines()
    assert line.keys() == USUAL | OF_A_COMPLETION
    assert line["ms"] == round(line["ms"], 1) > 0


async def test_a_caller_who_left_is_on_the_line_with_what_was_counted(service: Service, lines):
    service.openai.script = Script(tokens=50, stall_at=9)
    async with service.ask(stream=True) as response:
        await service.openai.journal.sent(9)
        response.close()
    await service.openai.journal.left()
    await service.ledger.settled()

    [line] = lines()
    [receipt] = await service.receipts()
    assert (line["outcome"], line["source"], line["tokens"]) == ("caller_left", "counted", receipt["tokens"])


async def test_a_charge_that_is_counted_in_a_thread_is_waited_for(service: Service, lines):
    service.openai.script = Script(answer="wonderfully " * 900, cut="after_finish")
    async with service.ask(stream=True) as response:
        await response.read()
    await service.ledger.settled()

    [line] = lines()
    assert (line["outcome"], line["source"]) == ("upstream_error", "counted")


@pytest.mark.parametrize(
    ("fields", "outcome", "param", "known"),
    [
        ({"question": ""}, "invalid_request", "question", set()),
        ({"question": "a " * 9000}, "prompt_too_long", "question", OF_WHOM),
    ],
)
async def test_a_refusal_before_the_hold_is_a_line_without_a_charge(
    service: Service, lines, fields, outcome, param, known
):
    async with service.ask(**fields) as response:
        await response.read()

    [line] = lines()
    assert line.keys() == USUAL | OF_A_REQUEST | {"param"} | known
    assert (line["outcome"], line["param"], line["status"]) == (outcome, param, 400)


@pytest.mark.parametrize(
    ("fields", "outcome", "param", "known"),
    [
        ({"model": "gpt-9"}, "model_not_found", "model", {"client", "product"}),
        ({"n": 2}, "invalid_request", "n", {"client", "product"}),
        ({"messages": [{"role": "user", "content": "a " * 9000}]}, "prompt_too_long", "messages", OF_WHOM),
    ],
)
async def test_a_refusal_of_an_openai_client_is_a_line_with_its_account(
    service: Service, lines, fields, outcome, param, known
):
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "user": "u9"} | fields
    who = {"X-Client-Id": "c9", "X-Product-Id": "p9"}
    async with service.session.post(f"{service.url}/v1/chat/completions", json=asked, headers=who) as response:
        await response.read()

    [line] = lines()
    assert line.keys() == USUAL | OF_A_REQUEST | {"param"} | known
    assert (line["outcome"], line["param"], line["client"], line["product"]) == (outcome, param, "c9", "p9")


async def test_a_denied_client_is_on_the_line(serve, lines):
    async with serve(default_token_quota=5) as service, service.ask() as response:
        await response.read()

        [line] = lines()
    assert (line["status"], line["outcome"]) == (402, "insufficient_quota")
    assert (line["client"], line["product"], line["user"]) == ("c1", "p1", "u7")
    assert "tokens" not in line


async def test_a_refusal_of_the_upstream_is_a_line_with_no_tokens(service: Service, lines):
    service.openai.script = Script(status=401)
    async with service.ask() as response:
        await response.read()

    [line] = lines()
    assert (line["status"], line["outcome"], line["tokens"]) == (502, "upstream_error", 0)


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        ("/v1/client/info?client_id=c9&product_id=p9", None, ("/v1/client/info", 404, "client_not_found", "c9")),
        ("/v1/nowhere", None, ("-", 404, "not_found", None)),
        ("/v1/ask", None, ("-", 405, "method_not_allowed", None)),
        ("/v1/models", "wrong", ("/v1/models", 403, "forbidden", None)),
    ],
)
async def test_every_other_request_is_a_line_too(service: Service, lines, path, key, expected):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with service.session.get(service.url + path, headers=headers) as response:
        await response.read()

    [line] = lines()
    assert (line["route"], line["status"], line["outcome"], line.get("client")) == expected


async def test_a_malformed_request_is_a_line_and_not_a_warning(service: Service, lines, caplog):
    async with connect(service) as connection:
        connection.send(b"GET /v1/health HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n")
        _, headers, _ = await connection.answer()

    [line] = lines()
    assert line.keys() == USUAL | OF_A_REQUEST | {"fault"}
    assert line["request_id"] == headers["x-request-id"]
    assert (line["route"], line["status"], line["outcome"], line["fault"]) == (
        "-",
        400,
        "invalid_request",
        "LineTooLong",
    )
    warnings = [record.name for record in caplog.records if record.levelno >= logging.WARNING]
    assert set(warnings) <= {"gptdock.telemetry.watchdog"}  # a machine that runs tests is busy


async def test_a_caller_who_leaves_before_its_hold_is_a_line_without_a_status(serve, proxy, lines):
    async with serve(aws_endpoint_url_dynamodb=proxy.url) as service:
        proxy.strike("late")
        asking = asyncio.create_task(_ask(service))
        await proxy.struck.wait()
        asking.cancel()
        await asyncio.wait([asking])
        await service.ledger.settled()

        [line] = lines()
    assert line["outcome"] == "caller_left"
    assert not line.keys() & {"status", "tokens", "source"}


async def test_a_health_check_is_not_logged(service: Service, lines):
    async with service.session.get(f"{service.url}/v1/health") as response:
        assert response.status == 200

    assert lines() == []


async def test_no_question_answer_or_key_is_on_a_line(service: Service, lines):
    service.openai.script = Script(answer="hush-hush")
    async with service.ask(question="pst-pst", stream=True) as response:
        await response.read()
    await service.ledger.settled()

    text = json.dumps(lines())
    assert "pst-pst" not in text
    assert "hush-hush" not in text
    assert "test-key" not in text


async def _ask(service: Service, **fields: Any) -> None:
    async with service.session.post(f"{service.url}/v1/ask", json=QUESTION | fields) as response:
        await response.read()


async def test_a_trace_goes_upstream_and_both_ids_are_on_the_line(serve, lines):
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await read_request(reader))[0].lower())
        writer.write(b"HTTP/1.1 400 No\r\nx-request-id: req_7\r\nContent-Length: 2\r\n\r\n{}")

    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    async with raw_upstream(refuse) as url, serve(openai_base_url=url) as service:
        for traceparent in (trace, f"00-{'0' * 32}-{'b' * 16}-01", "x" * 8_000):
            headers = {"traceparent": traceparent}
            async with service.session.post(f"{service.url}/v1/ask", json=QUESTION, headers=headers) as response:
                assert response.status == 502

    assert [f"traceparent: {trace}\r\n".encode() in head for head in heads] == [True, False, False]
    assert [b"traceparent" in head for head in heads] == [True, False, False]
    assert [line.get("traceparent") for line in lines()] == [trace, None, None]
    assert [line["upstream_request_id"] for line in lines()] == ["req_7"] * 3
