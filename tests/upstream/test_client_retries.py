"""Which failures of the upstream are retried, how often, and what that costs."""

import pytest

from gptdock.dev.script import Script
from tests.harness.hostile import (
    Fault,
    bound_socket,
    check_nothing_is_left,
    fault_of,
    raw_upstream,
    read_request,
    url_of,
)
from tests.harness.upstream_faults import (
    AT_ONCE,
    BROKEN,
    ask_for_fault,
    both_ways,
    check_broken_answer_counted,
    check_only_released,
    check_upstream_down,
    failed_attempts,
)

pytestmark = pytest.mark.usefixtures("each_flow")


@both_ways
async def test_a_refused_connection_is_attempted_three_times(serve, quick, caplog, stream):
    with bound_socket() as sock:
        async with serve(openai_base_url=url_of(sock)) as service:
            fault = await ask_for_fault(service, stream)

            assert (fault, failed_attempts(caplog)) == (BROKEN, 3)
            await check_upstream_down(service)


@both_ways
async def test_an_unknown_host_is_attempted_once(serve, caplog, stream):
    async with serve(openai_base_url="http://upstream.invalid/v1", connect_timeout=1) as service:
        fault = await ask_for_fault(service, stream)

        assert (fault, failed_attempts(caplog)) == (BROKEN, 1)
        await check_upstream_down(service)


@both_ways
async def test_a_failed_tls_handshake_is_attempted_once(serve, openai, caplog, stream):
    async with serve(openai_base_url=openai.url.replace("http:", "https:")) as service:
        fault = await ask_for_fault(service, stream)

        assert (fault, failed_attempts(caplog)) == (BROKEN, 1)
        assert openai.requests == 0
        await check_upstream_down(service)


@both_ways
async def test_an_answer_that_is_not_http_is_attempted_once(serve, caplog, stream):
    async def greet(reader, writer):
        await read_request(reader)
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

    async with raw_upstream(greet) as url, serve(openai_base_url=url) as service:
        fault = await ask_for_fault(service, stream)

        assert (fault, failed_attempts(caplog)) == (BROKEN, 1)
        await check_broken_answer_counted(service)


@both_ways
async def test_a_connection_closed_at_once_before_the_head_is_attempted_thrice_and_free(service, quick, stream):
    service.openai.script = Script(cut="before_head")

    fault = await ask_for_fault(service, stream)

    assert (fault, service.openai.requests) == (BROKEN, 3)
    await check_only_released(service)


@both_ways
async def test_an_answer_after_two_lost_attempts_is_charged_once(service, quick, stream):
    service.openai.next(Script(cut="before_head"), Script(cut="before_head"))

    async with service.ask(stream=stream) as response:
        assert response.status == 200
        await response.read()

    assert service.openai.requests == 3
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["tokens"]) == ("upstream", service.openai.journal[-1].spent)
    await check_nothing_is_left(service, receipt["tokens"])


@both_ways
@pytest.mark.parametrize("statuses", [(500,), (502, 503), (504, 429)])
async def test_an_answer_after_refused_attempts_is_charged_once(service, stream, statuses):
    service.openai.script = Script(statuses=statuses, headers=AT_ONCE)

    async with service.ask(stream=stream) as response:
        assert response.status == 200
        await response.read()

    assert service.openai.requests == len(statuses) + 1
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["tokens"]) == ("upstream", service.openai.journal[-1].spent)
    await check_nothing_is_left(service, receipt["tokens"])


@both_ways
async def test_a_passing_fault_is_attempted_three_times(service, quick, stream):
    statuses = (500, 502, 503, 504)
    for attempted, status in enumerate(statuses):
        service.openai.script = Script(status=status, error={"message": "hush-hush", "code": None})
        async with service.ask(stream=stream) as response:
            assert await fault_of(response) == BROKEN
            assert b"hush-hush" not in await response.read()

        assert service.openai.requests == 3 * (attempted + 1)
    await check_only_released(service)


@both_ways
async def test_a_lasting_refusal_is_attempted_once(service, stream):
    statuses = (400, 401, 403, 404, 409, 422, 301, 302, 303, 307, 308, 201, 204)
    headers = {"Location": f"{service.openai.url}/chat/completions"}
    for attempted, status in enumerate(statuses):
        service.openai.script = Script(status=status, headers=headers, raw=b"" if status == 204 else None)

        assert await ask_for_fault(service, stream) == BROKEN

        assert service.openai.requests == attempted + 1
    await check_only_released(service)


@both_ways
async def test_the_header_x_should_retry_decides(service, quick, stream):
    attempted = 0
    for told, status, attempts in (("false", 500, 1), ("false", 429, 1), ("true", 409, 3)):
        service.openai.script = Script(status=status, headers={"x-should-retry": told})

        assert (await ask_for_fault(service, stream)).status == (429 if status == 429 else 502)

        attempted += attempts
        assert service.openai.requests == attempted
    await check_only_released(service)


@both_ways
async def test_an_upstream_account_without_credit_is_attempted_once(service, stream):
    error = {"message": "hush-hush", "type": "insufficient_quota", "code": "insufficient_quota"}
    service.openai.script = Script(status=429, error=error, headers={"x-should-retry": "true"} | AT_ONCE)

    async with service.ask(stream=stream) as response:
        fault = await fault_of(response)

    assert (fault, service.openai.requests) == (Fault(503, "upstream_quota"), 1)
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["x-should-retry"] == "false"
    await check_only_released(service)


async def test_a_lasting_failure_does_not_triple_the_load(service):
    service.openai.script = Script(status=500, headers=AT_ONCE)

    for _ in range(50):
        assert await ask_for_fault(service, stream=False) == BROKEN

    assert service.openai.requests <= 50 + 50 + 50 / 10
    await check_only_released(service)
