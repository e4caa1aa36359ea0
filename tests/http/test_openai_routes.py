"""The routes for OpenAI's clients, through the whole service: who pays, how much, and what goes up and comes down."""

import json
from typing import Any

import pytest
from yarl import URL

from gptdock.dev.script import Script
from gptdock.upstream import exchange
from tests.harness.hostile import Fault, check_nothing_is_left, fault_of
from tests.harness.service import Service, sse_data

WHO = {"X-Client-Id": "c1", "X-Product-Id": "p1", "X-User-Id": "u7"}
MESSAGES = [{"role": "user", "content": "Who are you?"}]
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def complete(service: Service, headers: Any = None, **fields: Any):
    """POST /v1/chat/completions; to be used with `async with`."""
    body = {"model": "gpt-4o-mini", "messages": MESSAGES} | fields
    return service.session.post(f"{service.url}/v1/chat/completions", json=body, headers=headers or WHO)


async def test_a_whole_answer_is_the_upstream_s_and_is_charged_by_its_usage(service: Service):
    async with complete(service) as response:
        answer = await response.json()

    assert answer["object"] == "chat.completion"
    assert int(response.headers["X-Quota-Left"]) < int(response.headers["X-Quota-Max"]) == 500_000
    [receipt] = await service.receipts()
    assert (receipt["user"], receipt["model"], receipt["source"]) == ("u7", "gpt-4o-mini", "upstream")
    await check_nothing_is_left(service, used=answer["usage"]["total_tokens"])


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_stream_shows_its_usage_only_on_request(service: Service, wanted: bool):
    async with complete(service, stream=True, stream_options={"include_usage": wanted}) as response:
        *chunks, last = sse_data(await response.read())

    usages = [chunk["usage"] for chunk in map(json.loads, chunks) if chunk["usage"]]
    assert last == b"[DONE]"
    assert len(usages) == wanted
    assert service.openai.journal[0].request["stream_options"] == {"include_usage": True}
    await check_nothing_is_left(service, used=service.openai.journal[0].spent)


async def test_the_caller_s_messages_and_parameters_go_upstream_and_nothing_is_added(service: Service):
    fields: dict[str, Any] = {
        "messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [IMAGE]}],
        "temperature": 0.5,
        "tools": [{"type": "function", "function": {"name": "look"}}],
        "response_format": {"type": "json_object"},
        "max_completion_tokens": 33,
        "model": "gpt-4o-mini",
    }
    async with complete(service, **fields) as response:
        assert response.status == 200

    assert service.openai.journal[0].request == fields | {"stream": False}


@pytest.mark.parametrize(("asked", "given"), [(33, 33), (1000, 1000), (5000, 1000), (None, 1000)])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_caller_s_limit_is_honoured_up_to_ours(service: Service, name: str, asked: int, given: int):
    limit: dict[str, Any] = {name: asked}
    async with complete(service, **limit) as response:
        assert response.status == 200

    request = service.openai.journal[0].request
    assert request[name if asked else "max_completion_tokens"] == given


async def test_a_hold_is_no_larger_than_the_caller_s_limit_needs(serve):
    async with serve(default_token_quota=60) as service, complete(service, max_tokens=20) as response:
        assert response.status == 200
        assert int(response.headers["X-Quota-Left"]) == 60 - (3 + 3 + 1 + 4) - 8 - 20  # prompt, margin, answer


@pytest.mark.parametrize(
    ("headers", "user", "receipt"),
    [
        ({}, None, "-"),
        ({"X-User-Id": "u8"}, None, "u8"),
        ({"X-User-Id": "u8"}, "u9", "u9"),
        ({"X-User-Id": "ünï"}, None, "ünï"),
        ({"X-User-Id": "u8"}, "", "u8"),
        ({"X-User-Id": ""}, "u9", "u9"),
        ({"X-User-Id": ""}, "", "-"),
    ],
)
async def test_the_user_is_the_one_in_the_body_or_otherwise_in_the_header(service: Service, headers, user, receipt):
    who = {"X-Client-Id": "c1", "X-Product-Id": "p1"} | headers

    async with complete(service, who, user=user) as response:
        assert response.status == 200

    assert [each["user"] for each in await service.receipts()] == [receipt]


async def test_a_safety_identifier_is_the_user_if_there_is_none_and_passes(service: Service):
    named = {"safety_identifier": "s9", "prompt_cache_key": "k1"}
    for user in ("u9", "", None):
        async with complete(service, user=user, **named) as response:
            assert response.status == 200
    for user in ("u9", ""):
        async with complete(service, safety_identifier="\n", user=user) as response:
            assert await fault_of(response) == Fault(400, "invalid_request", "safety_identifier")
    async with complete(service, safety_identifier="") as response:
        assert response.status == 200

    assert [each["user"] for each in await service.receipts_as_asked()] == ["u9", "s9", "s9", "u7"]
    assert all(named.items() <= record.request.items() for record in list(service.openai.journal)[:3])


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"X-Product-Id": "p1"}, "X-Client-Id"),
        ({"X-Client-Id": "c1"}, "X-Product-Id"),
        ({"X-Client-Id": "", "X-Product-Id": "p1"}, "X-Client-Id"),
        ({"X-Client-Id": "c" * 256, "X-Product-Id": "p1"}, "X-Client-Id"),
        (WHO | {"X-User-Id": "u" * 256}, "X-User-Id"),
        ([*WHO.items(), ("X-Client-Id", "c2")], "X-Client-Id"),
    ],
)
@pytest.mark.parametrize("user", [None, "u9"])
async def test_a_request_without_an_identity_is_refused(service: Service, headers, param, user):
    async with complete(service, headers, user=user) as response:
        assert await fault_of(response) == Fault(400, "invalid_request", param)

    assert service.openai.requests == 0


async def test_a_model_that_is_not_served_is_not_found(service: Service):
    async with complete(service, model="gpt-9") as response:
        assert await fault_of(response) == Fault(404, "model_not_found", "model")

    assert service.openai.requests == 0


async def test_each_model_that_is_served_is_asked_listed_and_on_the_receipt(serve):
    async with serve(openai_models="gpt-4o,gpt-3.5-turbo") as service:
        async with complete(service, model="gpt-3.5-turbo") as response:
            assert (await response.json())["model"] == "gpt-3.5-turbo"
        async with service.session.get(f"{service.url}/v1/models") as response:
            listed = await response.json()
        shown = []
        for name in ("gpt-4o", "gpt-4%6F"):
            async with service.session.get(URL(f"{service.url}/v1/models/{name}", encoded=True)) as response:
                shown.append(await response.json())
        for name in ("gpt-4", "gpt-4o%2F", "%20"):
            async with service.session.get(URL(f"{service.url}/v1/models/{name}", encoded=True)) as response:
                assert await fault_of(response) == Fault(404, "model_not_found", "model")

        assert shown == [listed["data"][1]] * 2
        assert [receipt["model"] for receipt in await service.receipts()] == ["gpt-3.5-turbo"]
    assert listed["object"] == "list"
    assert [each["id"] for each in listed["data"]] == ["gpt-4o-mini", "gpt-4o", "gpt-3.5-turbo"]
    assert {each["object"] for each in listed["data"]} == {"model"}


async def test_a_rejection_after_an_attempt_that_broke_off_is_charged_as_it_was_told(
    service: Service, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exchange, "FREE_SECONDS", 0.0)
    service.openai.next(Script(cut="before_head"), Script(status=400, error={"param": "tools"}))

    async with complete(service) as response:
        assert await fault_of(response) == Fault(400, "invalid_request", "tools")
        assert response.headers["x-should-retry"] == "false"

    [receipt] = await service.receipts()
    assert (receipt["source"], receipt["outcome"]) == ("counted", "invalid_request")


async def test_a_rejection_on_ask_is_our_fault_and_the_log_names_the_field(service: Service, caplog):
    service.openai.script = Script(status=400, error={"param": "n", "code": {"you wrote": "Who are you?"}})

    async with service.ask() as response:
        assert await fault_of(response) == Fault(502, "upstream_error")

    [record] = [vars(each) for each in caplog.records if each.message == "upstream refused"]
    assert {name: record.get(name) for name in ("status", "field", "code")} == {
        "status": 400,
        "field": "n",
        "code": None,
    }


async def test_a_prompt_over_the_limit_is_refused(serve):
    async with serve(max_prompt_tokens=10) as service, complete(service) as response:
        assert await fault_of(response) == Fault(400, "prompt_too_long", "messages")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_without_quota_never_reaches_the_upstream(serve, stream: bool):
    async with serve(default_token_quota=5) as service:
        async with complete(service, stream=stream) as response:
            assert await fault_of(response) == Fault(402, "insufficient_quota")

        assert service.openai.requests == 0


async def test_both_routes_share_a_client_s_quota_and_a_process_s_streams(serve):
    async with serve(max_streams=1) as service:
        service.openai.script = Script(hold_at=2)
        async with service.ask(stream=True) as held:
            async with complete(service) as response:
                assert await fault_of(response) == Fault(503, "overloaded")
            service.openai.release()
            await held.read()
        service.openai.script = Script()
        async with complete(service) as response:
            assert response.status == 200

        assert (await service.info())["quota_used"] == sum(record.spent for record in service.openai.journal)


async def test_a_cut_stream_is_charged_by_the_count_of_its_own_model(serve):
    greek = "Γειά σου Κόσμε " * 20
    async with serve(openai_models="gpt-3.5-turbo") as service:
        service.openai.script = Script(answer=greek, cut="after_finish")
        for model in ("gpt-4o-mini", "gpt-3.5-turbo"):
            async with complete(service, model=model, stream=True) as response:
                assert b"[DONE]" not in await response.read()

        by_model = {each["model"]: each["completion_tokens"] for each in await service.receipts()}
    assert by_model["gpt-4o-mini"] < by_model["gpt-3.5-turbo"]
