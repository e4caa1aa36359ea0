"""What the caller is told when the upstream refuses."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gptdock.dev.script import Script
from gptdock.upstream import refusals
from tests.harness.hostile import (
    PATIENCE_SECONDS,
    Fault,
    fault_of,
    raw_upstream,
    read_request,
)
from tests.harness.upstream_faults import (
    BROKEN,
    ask_for_fault,
    both_ways,
    check_only_released,
)

CONTEXT = {"error": {"code": "context_length_exceeded"}}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (json.dumps(CONTEXT), Fault(400, "context_length_exceeded")),
        (json.dumps(CONTEXT | {"more": "x" * 100_000}), Fault(400, "context_length_exceeded")),
        (json.dumps(CONTEXT | {"more": "x" * 2**20}), Fault(502, "upstream_error")),
        ("[" * 60_000, Fault(502, "upstream_error")),
        ("", Fault(502, "upstream_error")),
        ('{"error": "context_length_exceeded"}', Fault(502, "upstream_error")),
        ('["error"]', Fault(502, "upstream_error")),
        ("{}", Fault(502, "upstream_error")),
        ("\udcff", Fault(502, "upstream_error")),
    ],
    ids=["good", "large", "too large", "deep", "empty", "text", "array", "object", "no utf-8"],
)
async def test_the_body_of_a_refusal_is_read_with_care(serve, body, fault):
    data = body.encode("utf-8", "surrogateescape")

    async def refuse(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(data) + data)

    async with raw_upstream(refuse) as url, serve(openai_base_url=url) as service, service.ask() as response:
        assert await fault_of(response) == fault


@pytest.mark.parametrize("is_closed", [True, False], ids=["cut", "stalled"])
async def test_a_refusal_whose_body_does_not_end_is_known_by_its_status(serve, monkeypatch, is_closed):
    monkeypatch.setattr(refusals, "ERROR_SECONDS", 0.1)

    async def refuse(reader, writer):
        await read_request(reader)
        writer.write(b'HTTP/1.1 429 Slow Down\r\nRetry-After: 60\r\nContent-Length: 100\r\n\r\n{"error": ')
        if is_closed:
            writer.close()

    async with raw_upstream(refuse) as url, serve(openai_base_url=url) as service:
        async with asyncio.timeout(PATIENCE_SECONDS), service.ask() as response:
            assert await fault_of(response) == Fault(429, "rate_limited")

        assert response.headers["Retry-After"] == "60"
        assert await service.receipts() == []
        assert (await service.info())["quota_held"] == 0


@both_ways
async def test_a_rate_limit_is_passed_on_after_our_retries(service, quick, stream):
    attempted = 0
    for retry_after, attempts, told in (
        (None, 3, 1),
        ("0", 3, 1),
        ("0.001", 3, 1),
        ("6", 1, 6),
        ("6.5", 1, 7),
        ("3600", 1, 3600),
        ("soon", 3, 1),
        ("-1", 3, 1),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 3, 1),
    ):
        service.openai.script = Script(status=429, headers={"Retry-After": retry_after} if retry_after else {})

        async with service.ask(stream=stream) as response:
            assert await fault_of(response) == Fault(429, "rate_limited")

        attempted += attempts
        assert (response.headers["Retry-After"], service.openai.requests) == (str(told), attempted)
    await check_only_released(service)


@pytest.mark.parametrize(
    ("headers", "attempts", "told"),
    [
        ({"retry-after-ms": "1"}, 3, 1),
        ({"retry-after-ms": "1.5", "Retry-After": "60"}, 3, 1),
        ({"Retry-After-Ms": "60000"}, 1, 60),
        ({"retry-after-ms": "5001", "Retry-After": "0"}, 1, 6),
        ({"retry-after-ms": "soon", "Retry-After": "60"}, 1, 60),
        ({"retry-after-ms": "-1", "Retry-After": "60"}, 1, 60),
        ({"retry-after-ms": "nan", "Retry-After": "60"}, 1, 60),
        ({"retry-after-ms": "", "Retry-After": "60"}, 1, 60),
    ],
)
async def test_a_rate_limit_in_milliseconds_is_read_first(service, quick, headers, attempts, told):
    service.openai.script = Script(status=429, headers=headers)

    async with service.ask() as response:
        assert await fault_of(response) == Fault(429, "rate_limited")

    assert (response.headers["Retry-After"], service.openai.requests) == (str(told), attempts)


async def test_a_rate_limit_until_an_impossible_year_is_passed_on(service, quick):
    headers = {"Retry-After": "Mon, 23 Nov 99999999999999999999 05:05:45 GMT"}
    service.openai.script = Script(status=429, headers=headers)

    assert await ask_for_fault(service, stream=True) == Fault(429, "rate_limited")

    await check_only_released(service)


async def test_a_rate_limit_until_a_date_is_passed_on_in_seconds(service):
    until = datetime.now(UTC) + timedelta(hours=1)
    service.openai.script = Script(status=429, headers={"Retry-After": format_datetime(until, usegmt=True)})

    async with service.ask() as response:
        fault = await fault_of(response)

    assert (fault, service.openai.requests) == (Fault(429, "rate_limited"), 1)
    assert 3000 < int(response.headers["Retry-After"]) <= 3600


@both_ways
async def test_a_context_that_is_too_long_is_the_caller_s_error(service, stream):
    service.openai.script = Script(status=400, error={"message": "hush-hush", "code": "context_length_exceeded"})

    async with service.ask(stream=stream) as response:
        fault = await fault_of(response)
        body = await response.read()

    assert (fault, service.openai.requests) == (Fault(400, "context_length_exceeded"), 1)
    assert "x-should-retry" not in response.headers
    assert b"hush-hush" not in body
    await check_only_released(service)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (None, BROKEN),
        ("rate_limit_exceeded", Fault(429, "rate_limited")),
        ("insufficient_quota", Fault(503, "upstream_quota")),
        ("invalid_prompt", BROKEN),
        ("context_length_exceeded", Fault(400, "context_length_exceeded")),
    ],
)
async def test_an_error_instead_of_the_first_event_has_its_status(service, code, fault):
    service.openai.script = Script(error_at=0, error={"message": "hush-hush", "code": code})

    assert await ask_for_fault(service, stream=True) == fault

    await check_only_released(service)
