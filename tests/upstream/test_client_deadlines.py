"""How long each part of an upstream's answer may take."""

import asyncio

import pytest

from gptdock.dev.script import BEFORE_HEAD, Script
from tests.harness.hostile import (
    PATIENCE_SECONDS,
    Fault,
    unroutable,
    url_of,
)
from tests.harness.service import sse_data
from tests.harness.upstream_faults import (
    BROKEN,
    ask_for_fault,
    both_ways,
    check_counted_once,
    check_upstream_down,
    failed_attempts,
)

pytestmark = pytest.mark.usefixtures("each_flow")


@both_ways
async def test_a_connection_that_is_not_accepted_ends_at_the_deadline(serve, caplog, stream):
    with unroutable() as sock:
        async with serve(openai_base_url=url_of(sock), connect_timeout=0.2) as service:
            async with asyncio.timeout(PATIENCE_SECONDS):
                fault = await ask_for_fault(service, stream)

            assert (fault, failed_attempts(caplog)) == (BROKEN, 1)
            await check_upstream_down(service)


@both_ways
async def test_an_upstream_that_sends_no_head_is_left_at_the_deadline(serve, stream):
    async with serve(first_event_timeout=0.2, request_timeout=0.2 if not stream else 60) as service:
        service.openai.script = Script(stall_at=BEFORE_HEAD)

        fault = await ask_for_fault(service, stream)

        assert (fault, service.openai.requests) == (Fault(504, "upstream_timeout"), 1)
        await service.openai.journal.left()
        await check_counted_once(service)


@pytest.mark.parametrize("comments_every", [None, 0.02])
async def test_an_upstream_that_sends_no_event_is_left_at_the_deadline(serve, comments_every):
    async with serve(first_event_timeout=0.2) as service:
        service.openai.script = Script(stall_at=0, comments_every=comments_every)

        fault = await ask_for_fault(service, stream=True)

        assert (fault, service.openai.requests) == (Fault(504, "upstream_timeout"), 1)
        await service.openai.journal.left()
        await check_counted_once(service)


async def test_the_first_event_may_take_longer_than_any_later_one(serve):
    async with serve(event_timeout=0.001, first_event_timeout=60) as service:
        service.openai.script = Script(raw=b"data: {}\n\ndata: [DONE]\n\n", first_event_seconds=0.05)

        async with service.ask(stream=True) as response:
            assert sse_data(await response.read()) == [b"{}", b"[DONE]"]
