"""What a question holds and costs."""

import json
import re
from io import BytesIO

import pytest

from gptdock.dev.openai import serve_openai
from gptdock.dev.script import Script
from tests.harness.hostile import (
    Fault,
    check_nothing_is_left,
    fault_of,
    question,
)
from tests.harness.service import make_settings, running

MARGIN_TOKENS = 8
SPACIOUS = {"max_body_bytes": 4_000_000, "max_prompt_tokens": 2_000_000, "default_token_quota": 10**9}
PLAIN = {"system_prompt": "Be kind."}  # the usual one tells the time: its tokens are not always as many


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_tells_the_quota_after_its_hold(serve, stream):
    async with serve(default_token_quota=5000, max_completion_tokens=100) as service:
        lefts, used = [], 0
        for _ in range(2):
            async with service.ask(stream=stream) as response:
                await response.read()
            lefts.append(5000 - used - service.openai.journal[-1].prompt_tokens - MARGIN_TOKENS - 100)
            used = (await service.info())["quota_used"]

            assert response.headers["X-Quota-Max"] == "5000"
            assert response.headers["X-Quota-Left"] == str(lefts[-1])
            assert response.headers["x-ratelimit-remaining-tokens"] == str(lefts[-1])
            assert not {"x-ratelimit-reset-tokens", "X-Quota-Limited"} & response.headers.keys()


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_the_quota_shortens_says_so(serve, stream):
    scarce = {"default_token_quota": 200, "max_completion_tokens": 180}
    async with serve(**scarce, **PLAIN) as service, service.ask(stream=stream) as response:
        assert (response.status, response.headers["X-Quota-Limited"]) == (200, "1")


async def test_a_denial_tells_the_quota_and_the_end_of_its_period(serve):
    async with serve(default_token_quota=5, quota_period="month") as service:
        async with service.ask() as response:
            error, headers = (await response.json())["error"], response.headers
        info = await service.info()

    assert (response.status, error["code"]) == (402, "insufficient_quota")
    assert (error["quota_left"], error["quota_held"], error["resets_at"]) == (5, 0, info["resets_at"])
    assert info["resets_at"] in error["message"]
    assert (headers["X-Quota-Max"], headers["x-ratelimit-remaining-tokens"]) == ("5", "5")
    assert re.fullmatch("([0-9]+h)?([0-9]+m)?[0-9]+s", headers["x-ratelimit-reset-tokens"])


async def test_ids_that_look_alike_have_books_of_their_own(service):
    accounts = [
        ("a#b", "c"),
        ("a", "b#c"),
        ("a/b", "c"),
        ("a%23b", "c"),
        ("a b", "c"),
        ("🦆", "quota#all"),
        ("a", "b%23c"),
    ]
    expected = {}
    for number, (client_id, product_id) in enumerate(accounts):
        service.openai.script = Script(tokens=number + 1)
        async with service.ask(client_id=client_id, product_id=product_id) as response:
            assert response.status == 200
        expected[client_id, product_id] = service.openai.journal[-1].spent

    infos = [await service.info(*account) for account in accounts]

    assert {(info["client_id"], info["product_id"]): info["quota_used"] for info in infos} == expected
    assert len(set(expected.values())) == len(accounts)
    items = await service.store._client.aiobotocore.scan(TableName=service.store._usage)
    assert len({item["account"]["S"] for item in items["Items"]}) == len(accounts)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_without_quota_never_reaches_the_upstream(serve, stream):
    async with serve(default_token_quota=10) as service:
        for _ in range(2):
            async with service.ask(stream=stream) as response:
                assert await fault_of(response) == Fault(402, "insufficient_quota")
                assert "Retry-After" not in response.headers

        info = await service.info()
    assert (info["quota_used"], info["quota_held"], info["quota_left"]) == (0, 0, 10)
    assert service.openai.requests == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_rate_limit_of_the_upstream_tells_the_quota_without_this_hold(serve, stream):
    """But not in headers: a client of OpenAI would wait until the period ends."""
    async with serve(default_token_quota=10_000, quota_period="month", **PLAIN) as service:
        service.openai.next(Script(tokens=20, hold_at=1))
        async with service.ask(stream=True) as held:
            service.openai.script = Script(status=429, headers={"Retry-After": "3600"})
            async with service.ask(stream=stream) as response:
                assert await fault_of(response) == Fault(429, "rate_limited")
                error, left = (await response.json())["error"], int(held.headers["X-Quota-Left"])
                assert (error["quota_left"], error["quota_held"]) == (left, 10_000 - left)
                assert not any("quota" in name.lower() or "ratelimit" in name.lower() for name in response.headers)
            raw = b'{"error": {"message": "No."}, "usage": {"prompt_tokens": 5, "total_tokens": 9}}'
            service.openai.script = Script(status=429, raw=raw, content_type="application/json")
            async with service.ask(stream=stream) as response:
                charged = (await response.json())["error"]
                assert charged["quota_left"] < left, "what was charged does not come back"
            service.openai.release()
            await held.read()

        info = await service.info()
        assert error["resets_at"] == charged["resets_at"] == info["resets_at"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_quota_that_is_only_held_is_told_apart_from_one_that_is_used_up(serve, stream):
    async with serve(default_token_quota=1_000, **PLAIN) as service:
        service.openai.next(Script(tokens=20, hold_at=1))
        async with service.ask(stream=True) as held:
            async with service.ask(stream=stream) as response:
                assert await fault_of(response) == Fault(429, "quota_on_hold")
                assert response.headers["Retry-After"] == "3"
                assert "x-should-retry" not in response.headers
                error, left = (await response.json())["error"], held.headers["X-Quota-Left"]
                assert (str(error["quota_left"]), str(1_000 - error["quota_held"])) == (left, left)
                assert response.headers["x-ratelimit-remaining-tokens"] == left
            async with service.ask(stream=stream, question="word " * 1_100) as response:
                assert await fault_of(response) == Fault(402, "insufficient_quota")
            service.openai.release()
            await held.read()

        await check_nothing_is_left(service, service.openai.journal[0].spent)
        assert service.openai.requests == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_openai_params_that_the_model_reads_are_held_and_charged(serve, stream):
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": [f"word {n}" for n in range(200)]}}}
    left: list[int] = []
    used: list[int] = []
    for params in ({"temperature": 0.5}, {"temperature": 0.5, "response_format": shape}):
        async with serve(openai_params=json.dumps(params), **PLAIN) as service:
            client = f"c{len(left)}"
            service.openai.next(Script(tokens=20, cut="close", cut_at=9))
            async with service.ask(stream=stream, client_id=client) as response:
                await response.read()
            used.append((await service.info(client))["quota_used"])
            async with service.ask(client_id=f"{client}-whole") as response:
                left.append(int(response.headers["X-Quota-Left"]))

    assert left[0] - left[1] >= 800
    assert used[1] - used[0] >= 800


@pytest.mark.parametrize(("answer_tokens", "status"), [(100, 200), (16, 200), (15, 402)])
async def test_an_answer_is_cut_to_what_is_left_down_to_sixteen_tokens(serve, answer_tokens, status):
    async with serve(**PLAIN) as service, service.ask() as response:
        await response.read()
    prompt_tokens = service.openai.journal[0].prompt_tokens
    quota = prompt_tokens + MARGIN_TOKENS + answer_tokens

    async with serve(default_token_quota=quota, **PLAIN) as service:
        async with service.ask(client_id="c2") as response:
            assert response.status == status
            left = response.headers["X-Quota-Left"]
        asked = [record.request["max_completion_tokens"] for record in service.openai.journal[1:]]

    assert (left, asked) == (("0", [answer_tokens]) if status == 200 else (str(quota), []))


@pytest.mark.parametrize(
    "special", ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|endofprompt|>"]
)
async def test_special_tokens_in_a_text_are_text(service, special):
    history = [{"role": "assistant", "content": special}]
    async with service.ask(question=special * 20, history=history, client_id=special, stream=True) as response:
        assert response.status == 200
        await response.read()
        held = 500_000 - int(response.headers["X-Quota-Left"])

    assert (await service.info(special))["quota_used"] == service.openai.journal[0].spent <= held
    assert service.openai.journal[0].prompt_tokens > 21 * 3  # of text: a special token would be one


@pytest.mark.parametrize("text", ["a" * 1_000_000, "🦆" * 80_000], ids=["letters", "emoji"])
async def test_a_long_text_is_held_at_what_it_costs(serve, text):
    async with serve(**SPACIOUS) as service:
        async with service.session.post(f"{service.url}/v1/ask", data=BytesIO(question(question=text))) as response:
            assert response.status == 200
            held = 10**9 - int(response.headers["X-Quota-Left"])

        assert service.openai.journal[0].spent <= held
        await check_nothing_is_left(service, service.openai.journal[0].spent)


async def test_a_text_at_which_the_tokenizer_panics_is_no_error(dynamodb):
    body = question(question=" " * 999_999 + "?")
    async with (
        serve_openai() as openai,
        running(make_settings(dynamodb, openai.url, **SPACIOUS), openai) as service,
        service.session.post(f"{service.url}/v1/ask", data=BytesIO(body)) as response,
    ):
        assert response.status == 200
        assert 10**9 - int(response.headers["X-Quota-Left"]) > 50_000
        await check_nothing_is_left(service, openai.journal[0].spent)
