"""The simulated OpenAI, asked as any HTTP client would ask the real one."""

import asyncio
import json
import logging
import threading
from pathlib import Path

import aiohttp
import pytest

from gptdock.dev.openai import serve_openai
from gptdock.dev.script import Script

RECORDED = (Path(__file__).parents[1] / "data" / "ask_stream.sse").read_bytes()
KEY = {"Authorization": "Bearer sk-dummy"}
KEY_LINE = "Authorization: Bearer sk-dummy"
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How are you?"}]
THREE = Script(answer="one two three")
PROMPT_TOKENS = 2 * 3 + (1 + 2) + (1 + 3) + 3


@pytest.fixture
async def server():
    async with serve_openai(script=THREE) as server:
        yield server


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


def ask(server, session, headers=KEY, **more):
    body = {"model": "gpt-4o-mini", "messages": QUESTION, "user": "77"} | more
    return session.post(f"{server.url}/chat/completions", json=body, headers=headers, allow_redirects=False)


def ask_stream(server, session, **more):
    return ask(server, session, **{"stream": True, "stream_options": {"include_usage": True}} | more)


async def stream(server, session, **more):
    async with ask_stream(server, session, **more) as response:
        return await response.read()


def payloads(data):
    return [event.removeprefix("data: ") for event in data.decode().split("\n\n")[:-1]]


def chunks(data):
    return [json.loads(payload) for payload in payloads(data) if payload != "[DONE]"]


def text(data):
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks(data) if chunk["choices"])


# --- OpenAI's wire format


async def test_a_stream_is_role_tokens_finish_usage_and_done(server, session):
    async with ask_stream(server, session) as response:
        data = await response.read()

    role, *tokens, finish, usage = chunks(data)
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [token["choices"][0]["delta"] for token in tokens] == [
        {"content": word} for word in ("one", " two", " three")
    ]
    assert (finish["choices"][0]["delta"], finish["choices"][0]["finish_reason"]) == ({}, "stop")
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == PROMPT_TOKENS + 3
    assert [chunk["usage"] for chunk in (role, *tokens, finish)] == [None] * 5
    assert data.endswith(b"\n\ndata: [DONE]\n\n")


async def test_a_stream_has_at_least_the_keys_of_a_recorded_one(server, session):
    recorded = chunks(RECORDED)

    data = await stream(server, session, stream_options=None)

    for theirs, ours in zip(
        (recorded[0], recorded[1], recorded[-1]), (chunks(data)[n] for n in (0, 1, -1)), strict=True
    ):
        assert theirs.keys() <= ours.keys()
        assert theirs["object"] == ours["object"]
        assert theirs["choices"][0].keys() <= ours["choices"][0].keys()
        assert theirs["choices"][0]["delta"].keys() <= ours["choices"][0]["delta"].keys()


async def test_usage_is_streamed_only_to_who_asks(server, session):
    data = await stream(server, session, stream_options=None)

    assert b"usage" not in data


async def test_a_whole_answer_is_one_object_with_usage(server, session):
    async with ask(server, session) as response:
        answer = await response.json()

    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "one two three", "refusal": None}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == PROMPT_TOKENS
    assert answer["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_stops_at_its_limit(server, session, name):
    data = await stream(server, session, **{name: 2})

    assert text(data) == "one two"
    assert chunks(data)[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks(data)[-1]["usage"]["completion_tokens"] == 2


async def test_tokens_are_counted_by_the_function_given(session):
    async with serve_openai(pieces=list, script=Script(answer="abc")) as server, ask(server, session) as response:
        answer = await response.json()

    texts = "".join(message["role"] + message["content"] for message in QUESTION)
    assert answer["usage"]["prompt_tokens"] == len(texts) + 9
    assert answer["usage"]["completion_tokens"] == 3


async def test_a_large_prompt_is_counted_beside_the_event_loop(session):
    threads = set()

    def pieces(text):
        threads.add(threading.current_thread())
        return [text]

    async with serve_openai(pieces=pieces) as server:
        await stream(server, session, messages=[{"role": "user", "content": "a" * 10_000}])

    assert len(threads) == 2


async def test_a_message_in_parts_counts_like_its_text(server, session):
    parts = [{"type": "text", "text": "How are"}, {"type": "text", "text": " you?"}]

    async with ask(server, session, messages=[QUESTION[0], {"role": "user", "content": parts}]) as response:
        answer = await response.json()

    assert answer["usage"]["prompt_tokens"] == PROMPT_TOKENS


async def test_the_usual_answer_is_ascii_and_echoes_the_question(session):
    async with serve_openai() as server:
        data = await stream(server, session, messages=[{"role": "user", "content": "Où es-tu?"}])

    assert text(data).isascii()
    assert "9 characters" in text(data)
    assert "O? es-tu?" in text(data)


@pytest.mark.parametrize("key", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"}])
async def test_without_a_key_there_is_no_answer(server, session, key):
    async with ask(server, session, headers=key) as response:
        error = (await response.json())["error"]

    assert response.status == 401
    assert error.keys() == {"message", "type", "param", "code"}
    assert (server.requests, server.journal) == (1, [])


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"messages": []}', b'{"messages": ["hi"]}'])
async def test_nonsense_is_a_400(server, session, body):
    async with session.post(f"{server.url}/chat/completions", data=body, headers=KEY) as response:
        error = (await response.json())["error"]

    assert (response.status, error["type"]) == (400, "invalid_request_error")


async def test_models_are_listed(server, session):
    async with session.get(f"{server.url}/models", headers=KEY) as response:
        models = await response.json()

    assert "gpt-4o-mini" in [model["id"] for model in models["data"]]


async def test_another_path_is_a_404_as_openai_tells_it(server, session):
    async with session.post(f"{server.url}/embeddings", headers=KEY) as response:
        error = (await response.json())["error"]

    assert (response.status, error["code"]) == (404, "unknown_url")


# --- errors instead of an answer


async def test_an_error_status_comes_with_its_headers_and_openais_body(server, session):
    server.script = Script(status=429, headers={"Retry-After": "7"})

    async with ask_stream(server, session) as response:
        error = (await response.json())["error"]

    assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert error["code"] == "rate_limit_exceeded"
    assert (server.journal[0].status, server.journal[0].spent) == (429, 0)


async def test_an_error_may_be_another_one(server, session):
    server.script = Script(status=429, error={"code": "insufficient_quota"})

    async with ask(server, session) as response:
        body = await response.json()

    assert body == {"error": {"code": "insufficient_quota"}}


async def test_a_redirect_is_sent(server, session):
    server.script = Script(status=307, headers={"Location": "/elsewhere"})

    async with ask(server, session) as response:
        assert (response.status, response.headers["Location"]) == (307, "/elsewhere")


async def test_statuses_are_used_up_one_a_request_before_all_is_well(server, session):
    server.script = Script(statuses=(503, 500))

    got = []
    for _ in range(3):
        async with ask(server, session) as response:
            got.append(response.status)

    assert got == [503, 500, 200]


async def test_queued_scripts_serve_one_request_each(server, session):
    server.next(Script(answer="first"), Script(answer="second"))

    got = [text(await stream(server, session)) for _ in range(3)]

    assert got == ["first", "second", "one two three"]


# --- many at once, and other processes


async def test_hundreds_of_streams_run_at_once(server):
    connector = aiohttp.TCPConnector(limit=0)
    server.script = Script(tokens=20, hold_at=1)

    async with aiohttp.ClientSession(connector=connector) as session:
        streams = [asyncio.create_task(stream(server, session)) for _ in range(300)]
        await server.journal.arrived(300)
        at_once = server.connections
        server.release()
        got = await asyncio.gather(*streams)

    assert at_once == 300
    assert all(data.endswith(b"data: [DONE]\n\n") and len(payloads(data)) == 24 for data in got)
    assert all(record.completed and record.spent == PROMPT_TOKENS + 20 for record in server.journal)


@pytest.mark.parametrize("steps", range(4))
async def test_a_peer_that_leaves_at_any_step_stops_the_generation(server, caplog, steps):
    """At one of these steps it is a write, not the cancellation, that finds out first."""
    server.script = Script(tokens=10_000)
    body = json.dumps({"messages": QUESTION, "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{KEY_LINE}\r\nContent-Length: {len(body)}\r\n\r\n"
    port = int(server.url.split(":")[2].partition("/")[0])

    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}{body}".encode())
    await server.journal.sent(3)
    for _ in range(steps):
        await asyncio.sleep(0)
    writer.write_eof()
    (record,) = await server.journal.left()
    writer.transport.abort()

    assert 0 < record.generated < 10_000
    assert (record.open, record.completed) == (False, False)
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []


async def test_a_server_that_stops_breaks_what_stalls(session):
    async with serve_openai(script=Script(stall_at=1)) as server, ask_stream(server, session) as response:
        await server.journal.sent(1)

        await server.stop()

        (record,) = server.journal
        assert (record.open, record.aborted, server.connections) == (False, False, 0)
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_another_process_can_set_the_script_and_read_the_journal(server, session):
    root = server.url.removesuffix("/v1")
    script = Script(raw=b"data: \xff\n\n", tokens=3, usage=0)

    await session.put(f"{root}/_script", json=script.to_json())
    await session.post(f"{root}/_next", json={"answer": "once", "hold_at": 1})
    first = asyncio.create_task(stream(server, session))
    await server.journal.arrived()
    await session.post(f"{root}/_release")
    got = await first, await stream(server, session)
    async with session.get(f"{root}/_journal") as response:
        told = await response.json()

    assert (text(got[0]), got[1], server.script) == ("once", b"data: \xff\n\n", script)
    assert told["requests"] == 2
    assert [entry["generated"] for entry in told["journal"]] == [1, 3]
    assert told["journal"][0]["user"] == "77"
    assert told["journal"][0]["request"]["messages"] == QUESTION
