"""What refusals of the upstream mean."""

import asyncio
import json

import pytest

from gptdock.errors import ContextLengthExceeded, RateLimited, UpstreamError, UpstreamQuota, UpstreamRefused
from gptdock.upstream import refusals
from tests.harness.hostile import PATIENCE_SECONDS, Fault, fault_of, raw_upstream, read_request


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (500, None, UpstreamError),
        (401, "invalid_api_key", UpstreamError),
        (400, "invalid_value", UpstreamRefused),
        (400, "context_length_exceeded", ContextLengthExceeded),
        (429, None, RateLimited),
        (429, "rate_limit_exceeded", RateLimited),
        (0, "rate_limit_exceeded", RateLimited),
        (429, "insufficient_quota", UpstreamQuota),
        (403, "insufficient_quota", UpstreamQuota),
        (0, "insufficient_quota", UpstreamQuota),
        (429, 7, RateLimited),
        (400, ["context_length_exceeded"], UpstreamRefused),
        (400, {}, UpstreamRefused),
    ],
)
def test_an_error_is_told_by_its_code_and_else_by_its_status(status, code, error):
    assert type(refusals.to_error(status, code)) is error


@pytest.mark.parametrize(
    ("param", "field"),
    [
        ("response_format.json_schema", "response_format.json_schema"),
        ("messages.[0].content", "messages.[0].content"),
        ("tools[0].function.name", "tools[0].function.name"),
        ("what the caller wrote", None),
        ("x" * 101, None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_a_field_is_named_if_it_can_be_a_field_s_name(param, field):
    assert refusals.name(param) == field


@pytest.mark.parametrize(("after", "told"), [(None, 1), (0.0, 1), (0.2, 1), (1.0, 1), (1.2, 2), (3600.0, 3600)])
def test_a_rate_limit_says_when_to_come_again_in_whole_seconds(after, told):
    assert refusals.to_error(429, None, after).retry_after == told


CONTEXT = {"error": {"code": "context_length_exceeded"}}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (json.dumps(CONTEXT), Fault(400, "context_length_exceeded")),
        (json.dumps(CONTEXT | {"more": "x" * 100_000}), Fault(502, "upstream_error")),
        ("[" * 60_000, Fault(502, "upstream_error")),
        ("", Fault(502, "upstream_error")),
        ('{"error": "context_length_exceeded"}', Fault(502, "upstream_error")),
        ('["error"]', Fault(502, "upstream_error")),
        ("{}", Fault(502, "upstream_error")),
        ("\udcff", Fault(502, "upstream_error")),
    ],
    ids=["good", "too large", "deep", "empty", "text", "array", "object", "no utf-8"],
)
async def test_the_body_of_a_refusal_is_read_with_care(serve, body, fault):
    data = body.encode("utf-8", "surrogateescape")

    async def refuse(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(data) + data)

    async with raw_upstream(refuse) as url, serve(openai_base_url=url) as service, service.ask() as response:
        assert await fault_of(response) == fault


@pytest.mark.parametrize("is_closed", [True, False], ids=["cut", "stalled"])
async def test_a_refusal_whose_body_does_not_end_is_told_by_its_status(serve, monkeypatch, is_closed):
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
