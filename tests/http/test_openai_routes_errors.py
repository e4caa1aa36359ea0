"""Errors with a good status, in the forms of several vendors, and our own key in the words of an upstream."""

import json

import pytest

from gptdock.dev.script import Script
from tests.harness.answers import HELLO
from tests.harness.hostile import Fault, fault_of
from tests.harness.service import Service, sse_data
from tests.harness.upstream_faults import BROKEN, check_only_released
from tests.http.test_openai_routes import complete

both = pytest.mark.parametrize("stream", [True, False])
NO = b'{"error":{"message":"Bad.","type":"invalid_request_error"}'


REFUSALS = [
    NO + b"}",
    NO + b',"choices":null}',
    NO + b',"choices":[],"usage":null}',
    NO + b',"choices":[{"message":{"content":""}}],"usage":{"total_tokens":0}}',
    b"[" + NO + b"}]",
    b'{"object":"error","message":"Bad.","type":"BadRequestError","code":400}',
    b'[{"error":{"code":400,"message":"Bad.","status":"INVALID_ARGUMENT"}}]',
    b'{"code":"invalid_parameter","message":"Bad.","request_id":"x"}',
    b'{"success":false,"errors":[{"code":400,"message":"Bad."}]}',
]


@both
async def test_a_refusal_with_a_good_status_is_the_caller_s_in_any_form(service: Service, stream: bool):
    for raw in REFUSALS:
        for body, kind in ((raw, "application/json"), (b"data: " + raw + b"\n\n", "text/event-stream")):
            service.openai.script = Script(raw=body, content_type=kind)
            async with complete(service, stream=stream) as response:
                assert (await fault_of(response)).status == 400
                assert (await response.json())["error"]["message"] == "Bad."

    assert service.openai.requests == 2 * len(REFUSALS)
    await check_only_released(service)


@both
async def test_an_error_with_a_usage_is_charged_and_not_to_be_asked_again(service: Service, stream: bool):
    for count, kind in enumerate(("application/json", "text/event-stream"), 1):
        body = NO + b',"choices":[],"usage":{"total_tokens":7}}'
        service.openai.script = Script(raw=body if count == 1 else b"data: " + body + b"\n\n", content_type=kind)
        async with complete(service, stream=stream) as response:
            assert (await fault_of(response), response.headers["x-should-retry"]) == (
                Fault(400, "invalid_request"),
                "false",
            )

        assert await service.used() == 7 * count


@both
async def test_an_error_beside_text_is_charged(service: Service, stream: bool):
    part = "delta" if stream else "message"
    raw = NO + b',"choices":[{"%b":{"content":"one two"}}]}' % part.encode()
    service.openai.script = Script(raw=b"data: " + raw + b"\n\n" if stream else raw)

    async with complete(service, stream=stream) as response:
        await response.read()

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["completion_tokens"]) == ("counted", 2)


async def test_an_event_of_the_name_error_is_one_whatever_its_data(service: Service):
    told = {
        b'{"code":"invalid_parameter","message":"Bad."}': Fault(400, "invalid_parameter"),
        b'{"message":"Bad.","status":422}': Fault(422, "invalid_request"),
        b'{"choices":[],"code":400,"message":"Bad."}': Fault(400, "invalid_request"),
        b"busy": BROKEN,
        b'["busy"]': BROKEN,
    }
    for data, fault in told.items():
        for start in (b"event:error\n", b"id:1\r\nevent: error\r\n", b"event: Error\nretry:1\n"):
            service.openai.script = Script(raw=start + b"data:" + data + b"\n\n")
            async with complete(service, stream=True) as response:
                assert await fault_of(response) == fault
    await check_only_released(service)

    service.openai.script = Script(raw=HELLO + b'event:error\ndata:{"code":"invalid_parameter","message":"Bad."}\n\n')
    async with complete(service, stream=True) as response:
        *_, last = sse_data(await response.read())
    assert json.loads(last)["error"]["code"] == "invalid_parameter"


@pytest.mark.parametrize("key", ["1f2e3d4c-5b6a-7988-9a0b-1c2d3e4f5a6b", "only-letters-here"])
async def test_our_own_key_is_not_told_whatever_its_shape(serve, caplog, key: str):
    error = {"message": f"Wrong: {key}, {key[:4]}***{key[-4:]}", "param": key, "code": key}
    async with serve(open_ai_key=key) as service:
        service.openai.script = Script(status=400, error=error)
        async with complete(service) as response:
            assert (await response.json())["error"] == {
                "message": "Wrong: ***, ***",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_request",
            }

        service.openai.script = Script(error_at=0, error=error | {"type": "invalid_request_error"})
        async with complete(service, stream=True) as response:
            assert (await response.json())["error"]["message"] == "Wrong: ***, ***"

    assert key not in caplog.text
