"""An upstream that misbehaves: what the caller sees, and what it costs."""

import pytest

from tests.harness.hostile import (
    Fault,
    check_nothing_is_left,
    fault_of,
)

AT_ONCE = {"Retry-After": "0"}  # so that no test waits for a retry
BROKEN = Fault(502, "upstream_error")
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
WHOLE = b'{"choices": [], "usage": {"total_tokens": 7, "prompt_tokens": 4, "completion_tokens": 3}}'


def failed_attempts(caplog):
    """How many attempts were logged as failed without a response."""
    return sum(record.getMessage() == "upstream failed" for record in caplog.records)


async def ask_for_fault(service, stream):
    async with service.ask(stream=stream) as response:
        return await fault_of(response)


async def check_only_released(service):
    """Nothing was charged, there is no receipt, and the next question is answered."""
    assert await service.receipts() == []
    await check_nothing_is_left(service, used=0)


async def check_counted_once(service):
    """There is one receipt, for the prompt at least and the hold at most."""
    [receipt] = await service.receipts()
    prompt_tokens = service.openai.journal[0].prompt_tokens
    assert receipt["source"] == "counted"
    assert prompt_tokens <= receipt["tokens"] <= prompt_tokens + 8 + 1000
    await check_nothing_is_left(service, used=receipt["tokens"])


async def check_upstream_down(service):
    """Nothing was charged, and the service still answers; the upstream stays out of reach."""
    info = await service.info()
    assert (info["quota_used"], info["quota_held"]) == (0, 0)
    assert await service.receipts() == []


async def check_broken_answer_counted(service):
    """The upstream had the request and may have generated: there is one receipt, and nothing is held."""
    [receipt] = await service.receipts()
    info = await service.info()
    assert (receipt["source"], info["quota_used"], info["quota_held"]) == ("counted", receipt["tokens"], 0)
