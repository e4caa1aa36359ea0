"""What the upstream refuses, on OpenAI's route: the caller wrote the request, and gets the upstream's own answer."""

import json
from typing import Any

import pytest

from gptdock.dev.script import Script
from tests.harness.answers import HELLO
from tests.harness.hostile import Fault, check_nothing_is_left, fault_of
from tests.harness.service import Service, sse_data
from tests.harness.upstream_faults import BROKEN, check_only_released
from tests.http.test_openai_routes import complete

FILTERED = {"message": "You wrote: a bad word", "type": None, "param": "prompt", "code": "content_filter"}
KEY = "sk-upstream-secret"  # as in `make_settings`
both = pytest.mark.parametrize("stream", [True, False])


@both
@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 413, 415, 422, 451])
async def test_a_refusal_that_will_not_change_keeps_its_status(service: Service, status: int, stream: bool):
    service.openai.script = Script(status=status, error={"message": "No.", "param": "tools", "code": "odd_tools"})

    async with complete(service, stream=stream) as response:
        assert await fault_of(response) == Fault(status, "odd_tools", "tools")

    assert service.openai.requests == 1
    await check_only_released(service)


@both
@pytest.mark.parametrize("status", [401, 403, 407])
@pytest.mark.parametrize("code", [None, "invalid_api_key", "content_filter"])
async def test_a_refusal_of_our_key_is_a_502_that_says_nothing(service: Service, status: int, code: Any, stream: bool):
    service.openai.script = Script(status=status, error={"message": "Your key hush-hush", "code": code})

    async with complete(service, stream=stream) as response:
        assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")
        assert "hush-hush" not in await response.text()

    assert service.openai.requests == 1
    await check_only_released(service)


async def test_an_account_without_credit_is_not_the_caller_s_quota(service: Service):
    service.openai.script = Script(status=402, error={"message": "Insufficient Balance"})

    async with complete(service) as response:
        assert await fault_of(response) == Fault(503, "upstream_quota")

    assert service.openai.requests == 1


async def test_what_may_pass_may_be_asked_again(service: Service):
    for status in (408, 425, 501, 520, 529):
        service.openai.script = Script(status=status, error={"message": "hush-hush"})

        async with complete(service) as response:
            assert await fault_of(response) == BROKEN
            assert "x-should-retry" not in response.headers
            assert "hush-hush" not in await response.text()


@both
async def test_the_reason_of_a_refusal_is_told_and_not_logged(service: Service, caplog, stream: bool):
    service.openai.script = Script(status=400, error=FILTERED)

    async with complete(service, stream=stream) as response:
        error = (await response.json())["error"]

    assert error == FILTERED | {"type": "invalid_request_error"}
    assert "bad word" not in caplog.text
    await check_only_released(service)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "No.", "code": None}}, "No.", "invalid_request"),
        ({"error": {"message": "No.", "code": 400}}, "No.", "invalid_request"),
        ({"error": "No."}, "No.", "invalid_request"),
        ({"object": "error", "message": "No.", "type": "BadRequestError", "code": 400}, "No.", "invalid_request"),
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "No."}}, "No.", "invalid_request"),
        ([{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}], "No.", "invalid_request"),
        ({"detail": [{"loc": ["body"], "msg": "No."}]}, "No.", "invalid_request"),
        ({"error": {"code": "context_length_exceeded", "message": "8192 at most."}}, "8192 at most.", None),
        (
            {"error": {"message": 7, "param": ["x"], "code": {}}},
            "The upstream rejected the request.",
            "invalid_request",
        ),
        (None, "The upstream rejected the request.", "invalid_request"),
    ],
)
async def test_a_reason_is_told_whatever_its_form(service: Service, body: Any, message: str, code: str | None):
    service.openai.script = Script(status=400, raw=json.dumps(body).encode())

    async with complete(service) as response:
        error = (await response.json())["error"]

    assert (error["message"], error["code"]) == (message, code or "context_length_exceeded")


async def test_a_reason_tells_no_key(service: Service):
    service.openai.script = Script(status=400, error={"message": f"Bearer {KEY} or 0123456789abcdef0123456789abcdef"})

    async with complete(service) as response:
        assert (await response.json())["error"]["message"] == "*** or ***"


@both
async def test_a_reason_is_not_told_on_ask_and_not_to_be_asked_again(service: Service, stream: bool):
    for status in (400, 404, 413, 422):
        service.openai.script = Script(status=status, error=FILTERED)

        async with service.ask(stream=stream) as response:
            assert (await fault_of(response), response.headers["x-should-retry"]) == (BROKEN, "false")
            assert "bad word" not in await response.text()


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ({"type": "invalid_request_error", "code": "invalid_prompt"}, Fault(400, "invalid_prompt")),
        ({"type": "invalid_request_error", "code": None, "param": "n"}, Fault(400, "invalid_request", "n")),
        ({"code": "content_filter"}, Fault(400, "content_filter")),
        ({"code": 400}, Fault(400, "invalid_request")),
        ({"code": 404, "type": "not_found_error"}, Fault(404, "invalid_request")),
        ({"code": 413}, Fault(413, "invalid_request")),
        ({"type": "invalid_request_error", "code": "context_length_exceeded"}, Fault(400, "context_length_exceeded")),
        ({"type": "invalid_request_error", "code": "invalid_api_key"}, BROKEN),
        ({"type": "authentication_error"}, BROKEN),
        ({"type": "server_error", "code": None}, BROKEN),
        ({"type": ["odd"], "code": {"odd": 1}}, BROKEN),
    ],
)
async def test_an_error_of_the_caller_as_the_first_event_has_its_status(service: Service, error: Any, fault: Fault):
    service.openai.script = Script(error_at=0, error={"message": "Words."} | error)

    async with complete(service, stream=True) as response:
        assert await fault_of(response) == fault
        assert ("Words." in await response.text()) == (fault.status < 500)

    await check_only_released(service)


async def test_an_error_that_is_the_event_itself_has_its_status(service: Service):
    told = {"object": "error", "message": "No.", "type": "BadRequestError", "code": 400}
    service.openai.script = Script(raw=b"data: " + json.dumps(told).encode() + b"\n\n")

    async with complete(service, stream=True) as response:
        assert await fault_of(response) == Fault(400, "invalid_request")

    await check_nothing_is_left(service, used=0)


async def test_a_reason_in_the_middle_of_a_stream_is_told_in_its_last_event(service: Service):
    service.openai.script = Script(raw=HELLO + b"data: " + json.dumps({"error": FILTERED}).encode() + b"\n\n")

    async with complete(service, stream=True) as response:
        *_, last = sse_data(await response.read())

    assert json.loads(last)["error"] == FILTERED | {"type": "invalid_request_error"}
    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["completion_tokens"]) == ("counted", 1)
