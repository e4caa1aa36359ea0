"""The routes of `/v1`, as a caller meets them."""

import asyncio
import json
from datetime import UTC, datetime
from io import BytesIO

import pytest

from gptdock.dev.openai import serve_openai
from gptdock.dev.script import Script
from tests.harness.hostile import (
    AUTHORIZED,
    Connection,
    Fault,
    check_nothing_is_left,
    connect,
    fault_of,
    question,
    request,
)
from tests.harness.service import QUESTION, make_settings, running, sse_data

MARGIN_TOKENS = 8
SPACIOUS = {"max_body_bytes": 4_000_000, "max_prompt_tokens": 2_000_000, "default_token_quota": 10**9}
PLAIN = {"system_prompt": "Be kind."}  # the usual one tells the time: its tokens are not always as many

BAD_JSON = {
    b"": "body",
    b"{": "body",
    b"[]": "body",
    b"null": "body",
    b'"question"': "body",
    b"[" * 100_000: "body",
    b'{"":' * 60_000: "body",
    b'{"question": "q", "client_id": ' + b"9" * 5000 + b"}": "body",
    b'{"question": NaN}': "body",
    b'{"x": 1e999}': "body",
    b'{"question": "a", "question": "b"}': "body",
    b"\xef\xbb\xbf{}": "body",
    b'{"question": "\xff"}': "body",
    json.dumps(QUESTION).encode("utf-16"): "body",
    b'{"question": "\\ud800"}': "question",
    b'{"question": "\\u0000"}': "question",
    b"{}": "question",
    question(question=" \n"): "question",
    question(question=7): "question",
    question(client_id=True): "client_id",
    question(client_id=1.0): "client_id",
    question(client_id=""): "client_id",
    question(client_id="x" * 256): "client_id",
    question(client_id="é" * 128): "client_id",
    question(product_id=None): "product_id",
    question(product_id="a\nb"): "product_id",
    question(user_id={}): "user_id",
    question(user_id="\ud800"): "user_id",
    question(stream="true"): "stream",
    question(stream=None): "stream",
    question(history={}): "history",
    question(history=[{"role": "tool", "content": "x"}]): "history[0].role",
    question(history=[{"role": "user", "content": "x"}, {"role": "user"}]): "history[1].content",
}


async def test_what_is_no_question_is_refused_and_the_field_is_named(service):
    faults = {}
    for body in BAD_JSON:
        async with service.session.post(f"{service.url}/v1/ask", data=body) as response:
            faults[body] = await fault_of(response)

    assert faults == {body: Fault(400, "invalid_request", param) for body, param in BAD_JSON.items()}
    assert service.openai.requests == 0
    async with service.session.get(f"{service.url}/v1/client/info?client_id=c1&product_id=p1") as response:
        assert await fault_of(response) == Fault(404, "client_not_found")


async def test_unknown_fields_are_ignored_and_ids_may_be_integers(service):
    async with service.ask(client_id=1234, user_id=-7, temperature=9, model="gpt-4", n=5) as response:
        assert response.status == 200

    assert service.openai.journal[0].request["n"] == 1
    assert service.openai.journal[0].model == "gpt-4o-mini"
    assert (await service.info("1234"))["quota_used"] == service.openai.journal[0].spent
    [receipt] = await service.receipts("1234")
    assert receipt["user"] == "-7"


@pytest.mark.parametrize("stream", [True, False])
async def test_the_upstream_is_asked_for_one_answer_that_the_hold_can_pay(serve, stream):
    history = [{"role": "assistant", "content": "Hi"}]
    changes = PLAIN | {"openai_params": '{"temperature": 0.5}', "max_completion_tokens": "77"}
    async with serve(**changes) as service, service.ask(stream=stream, history=history) as response:
        await response.read()

    asked = service.openai.journal[0].request
    assert asked == {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "Who are you?"},
        ],
        "n": 1,
        "max_completion_tokens": 77,
        "temperature": 0.5,
    } | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})


async def test_a_whole_answer_is_the_upstream_s_byte_for_byte(service):
    raw = b'{ "choices":[],  "usage":{"total_tokens":5},"new":"\xc3\xa9" }\n'
    service.openai.script = Script(raw=raw)

    async with service.ask() as response:
        assert await response.read() == raw

    assert response.content_type == "application/json"
    assert (await service.info())["quota_used"] == 5


async def test_a_stream_has_the_heads_that_proxies_need(service):
    async with service.ask(stream=True) as response:
        events = sse_data(await response.read())

    assert events[-1] == b"[DONE]"
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"


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
    items = await service.store._client.scan(TableName=service.store._usage)
    assert len({item["account"]["S"] for item in items["Items"]}) == len(accounts)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_question_that_does_not_fit_alone_is_too_long(serve, stream):
    async with serve(max_prompt_tokens=50) as service, service.ask(stream=stream, question="why " * 50) as response:
        assert await fault_of(response) == Fault(400, "prompt_too_long", "question")

    assert service.openai.requests == 0


async def test_the_newest_history_that_fits_is_sent(serve):
    history = [{"role": "user", "content": f"{number} " + "word " * 20} for number in range(10)]
    async with serve(max_prompt_tokens=100, **PLAIN) as service, service.ask(history=history) as response:
        assert response.status == 200

    record = service.openai.journal[0]
    sent = record.request["messages"][1:-1]
    assert sent == history[-len(sent) :]
    assert record.prompt_tokens <= 100 < record.prompt_tokens + 20 + 5


async def test_info_without_its_ids_is_refused(service):
    for query, param in (
        ("", "client_id"),
        ("product_id=p1", "client_id"),
        ("client_id=c1", "product_id"),
        ("client_id=&product_id=p1", "client_id"),
        ("client_id=c1&product_id=a%0Ab", "product_id"),
        ("client_id=c1&product_id=p1&client_id=c2", "client_id"),
        (f"client_id={'x' * 256}&product_id=p1", "client_id"),
    ):
        async with service.session.get(f"{service.url}/v1/client/info?{query}") as response:
            assert await fault_of(response) == Fault(400, "invalid_request", param)


async def test_a_client_that_never_asked_is_not_found(service):
    async with service.ask() as response:
        await response.read()

    for query in ("client_id=c1&product_id=p2", "client_id=c2&product_id=p1", "client_id=%FF&product_id=p1"):
        async with service.session.get(f"{service.url}/v1/client/info?{query}") as response:
            assert await fault_of(response) == Fault(404, "client_not_found")


async def test_info_tells_the_numbers_of_the_running_period(service):
    async with service.ask() as response:
        await response.read()

    used = service.openai.journal[0].spent
    assert await service.info() == {
        "client_id": "c1",
        "product_id": "p1",
        "quota_used": used,
        "quota_held": 0,
        "quota_left": 500_000 - used,
        "max_quota": 500_000,
        "period": "all",
        "resets_at": None,
    }


async def test_a_known_client_without_a_book_in_this_period_reads_as_unused(serve):
    async with serve() as service, service.ask() as response:
        await response.read()

    async with serve(quota_period="month") as service:
        info = await service.info()

    now = datetime.now(UTC)
    assert (info["quota_used"], info["quota_left"], info["max_quota"]) == (0, 500_000, 500_000)
    assert info["period"] == f"{now:%Y-%m}"
    next_month = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    assert info["resets_at"] == f"{next_month:%Y-%m-%dT%H:%M:%SZ}"


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
async def test_what_the_model_reads_of_openai_params_is_held_and_charged(serve, stream):
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
            left = response.headers.get("X-Quota-Left")
        asked = [record.request["max_completion_tokens"] for record in service.openai.journal[1:]]

    assert (left, asked) == (("0", [answer_tokens]) if status == 200 else (None, []))


async def test_a_body_of_the_full_size_is_read_and_one_byte_more_is_not(serve):
    async with serve(max_body_bytes=1024) as service:
        body = question().ljust(1024)
        async with service.session.post(f"{service.url}/v1/ask", data=body) as response:
            assert response.status == 200
        async with service.session.post(f"{service.url}/v1/ask", data=body + b" ") as response:
            assert await fault_of(response) == Fault(413, "payload_too_large")


async def test_a_chunked_body_over_the_cap_is_refused_before_its_end(serve):
    async with serve(max_body_bytes=1024) as service, connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Transfer-Encoding": "chunked"}))
        connection.send(b"800\r\n" + b" " * 0x800 + b"\r\n")

        fault = await connection.fault()
        await connection.rest()

    assert fault == Fault(413, "payload_too_large")


async def test_a_length_over_the_cap_is_refused_without_the_body(service):
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Length": "99999999999"}))

        fault = await connection.fault()
        await connection.rest()

    assert fault == Fault(413, "payload_too_large")


async def test_a_body_longer_than_its_length_is_refused(service):
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED, question()[:10]) + question()[10:])

        status, _, _ = await connection.answer()
        await connection.rest()

    assert status == 400
    assert service.openai.requests == 0


async def test_chunks_that_are_none_are_waited_for_no_longer_than_a_body(serve):
    headers = {"Transfer-Encoding": "chunked", "Expect": "100-continue"}
    async with serve(body_timeout=0.2) as service, connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | headers))
        assert await connection.line() + await connection.line() == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(b"5\r\n{   }\r\nzz\r\n")

        fault = await connection.fault()
        await connection.rest()

    assert fault.status in (400, 408)
    assert service.openai.requests == 0


async def test_a_good_chunked_body_is_read(service):
    body = question()
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Transfer-Encoding": "chunked"}))
        connection.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")

        status, _, _ = await connection.answer()

    assert status == 200


@pytest.mark.parametrize("sent", [b"", question()[:20]], ids=["none", "half"])
async def test_a_body_that_does_not_come_times_out(serve, sent):
    async with serve(body_timeout=0.2) as service:
        async with connect(service) as connection:
            connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Length": "100"}) + sent)

            fault = await connection.fault()
            rest = await connection.rest()
        assert (fault, rest) == (Fault(408, "request_timeout"), b"")
        assert service.openai.requests == 0
        async with service.ask() as response:
            assert response.status == 200


async def test_a_body_that_drips_times_out(serve):
    async with serve(body_timeout=0.3) as service, connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Length": "100000"}))

        async with asyncio.TaskGroup() as tasks:
            dripping = tasks.create_task(_drip(connection))
            fault = await connection.fault()
            dripping.cancel()

        assert (fault, await connection.rest()) == (Fault(408, "request_timeout"), b"")
        assert service.openai.requests == 0


async def _drip(connection: Connection) -> None:
    while True:
        connection.send(b" ")
        await asyncio.sleep(0.02)


async def test_a_caller_who_leaves_within_its_body_costs_nothing(service):
    async with connect(service) as connection:
        connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Length": "1000"}) + question())
        connection.writer.write_eof()

        await connection.rest()

    assert service.openai.requests == 0
    async with service.ask() as response:
        await response.read()
    await check_nothing_is_left(service, service.openai.journal[0].spent)


async def test_an_encoded_body_is_not_decoded(service):
    for encoding in ("gzip", "deflate", "br", "zstd", "identity", "junk", ""):
        async with connect(service) as connection:
            connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Encoding": encoding}, question()))

            assert await connection.fault() == Fault(415, "unsupported_encoding")
    assert service.openai.requests == 0


async def test_another_charset_is_refused(service):
    for charset in ("foo", "utf-16", "latin-1", '"utf-32"', "utf-8-sig"):
        headers = {"Content-Type": f"application/json; charset={charset}"}
        async with service.session.post(f"{service.url}/v1/ask", data=question(), headers=headers) as response:
            assert await fault_of(response) == Fault(400, "invalid_request", "Content-Type")
    assert service.openai.requests == 0


async def test_any_way_to_say_utf_8_is_understood(service):
    for content_type in ("application/json", "application/json;charset=UTF-8", 'a/b; charset="utf-8"', "junk", ";;;="):
        async with connect(service) as connection:
            connection.send(request("POST", "/v1/ask", AUTHORIZED | {"Content-Type": content_type}, question()))

            assert (await connection.answer())[0] == 200


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
