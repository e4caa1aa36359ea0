"""The simulated OpenAI as a server: keys, routes, queued scripts, many requests at once, control over HTTP."""

import asyncio
import json
import logging
import threading

import aiohttp
import pytest
from openai.types import Model

from gptdock.dev.openai import serve_openai
from gptdock.dev.script import Script
from tests.harness.simulated import KEY, PROMPT_TOKENS, QUESTION, ask, ask_stream, payloads, read_stream, text

KEY_LINE = "Authorization: Bearer sk-dummy"


async def test_a_large_prompt_is_counted_outside_the_event_loop(session):
    threads = set()

    def pieces(part):
        threads.add(threading.current_thread())
        return [part]

    async with serve_openai(pieces=pieces) as server:
        await read_stream(server, session, messages=[{"role": "user", "content": "a" * 10_000}])

    assert len(threads) == 2


@pytest.mark.parametrize("key", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"}])
async def test_a_request_without_a_key_is_a_401(server, session, key):
    async with ask(server, session, headers=key) as response:
        error = (await response.json())["error"]

    assert response.status == 401
    assert error.keys() == {"message", "type", "param", "code"}
    assert (server.requests, server.journal) == (1, [])


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"messages": []}', b'{"messages": ["hi"]}'])
async def test_a_malformed_body_is_a_400(server, session, body):
    async with session.post(f"{server.url}/chat/completions", data=body, headers=KEY) as response:
        error = (await response.json())["error"]

    assert (response.status, error["type"]) == (400, "invalid_request_error")


async def test_models_are_listed(server, session):
    async with session.get(f"{server.url}/models", headers=KEY) as response:
        models = await response.json()

    assert "gpt-4o-mini" in [model["id"] for model in models["data"]]


async def test_a_model_is_shown(server, session):
    async with session.get(f"{server.url}/models/gpt-4o-mini", headers=KEY) as response:
        model = await response.json()
    async with session.get(f"{server.url}/models/gpt-9", headers=KEY) as unknown:
        error = (await unknown.json())["error"]

    assert Model.model_validate(model, strict=True).id == "gpt-4o-mini"
    assert (unknown.status, error["code"], error["param"]) == (404, "model_not_found", "model")


async def test_another_path_is_a_404_in_openai_s_words(server, session):
    async with session.post(f"{server.url}/images/generations", headers=KEY) as response:
        error = (await response.json())["error"]

    assert (response.status, error["code"]) == (404, "unknown_url")


async def test_an_error_status_comes_with_its_headers_and_openais_body(server, session):
    server.script = Script(status=429, headers={"Retry-After": "7"})

    async with ask_stream(server, session) as response:
        error = (await response.json())["error"]

    assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert error["code"] == "rate_limit_exceeded"
    assert (server.journal[0].status, server.journal[0].spent) == (429, 0)


async def test_an_error_may_be_given(server, session):
    server.script = Script(status=429, error={"code": "insufficient_quota"})

    async with ask(server, session) as response:
        body = await response.json()

    assert body == {"error": {"code": "insufficient_quota"}}


async def test_a_redirect_is_sent(server, session):
    server.script = Script(status=307, headers={"Location": "/elsewhere"})

    async with ask(server, session) as response:
        assert (response.status, response.headers["Location"]) == (307, "/elsewhere")


async def test_statuses_are_used_up_one_a_request(server, session):
    server.script = Script(statuses=(503, 500))

    got = []
    for _ in range(3):
        async with ask(server, session) as response:
            got.append(response.status)

    assert got == [503, 500, 200]


async def test_queued_scripts_serve_one_request_each(server, session):
    server.next(Script(answer="first"), Script(answer="second"))

    got = [text(await read_stream(server, session)) for _ in range(3)]

    assert got == ["first", "second", "one two three"]


async def test_hundreds_of_streams_run_at_once(server):
    connector = aiohttp.TCPConnector(limit=0)
    server.script = Script(tokens=20, hold_at=1)

    async with aiohttp.ClientSession(connector=connector) as session:
        streams = [asyncio.create_task(read_stream(server, session)) for _ in range(300)]
        await server.journal.arrived(300)
        at_once = server.connections
        server.release()
        got = await asyncio.gather(*streams)

    assert at_once == 300
    assert all(data.endswith(b"data: [DONE]\n\n") and len(payloads(data)) == 24 for data in got)
    assert all(record.completed and record.spent == PROMPT_TOKENS + 20 for record in server.journal)


@pytest.mark.parametrize("steps", range(4))
async def test_a_peer_that_leaves_at_any_step_stops_the_generation(server, caplog, steps):
    """At one of these steps a write notices it first, not the cancellation."""
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


async def test_a_server_that_stops_breaks_stalled_answers_off(session):
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
    first = asyncio.create_task(read_stream(server, session))
    await server.journal.arrived()
    await session.post(f"{root}/_release")
    got = await first, await read_stream(server, session)
    async with session.get(f"{root}/_journal") as response:
        told = await response.json()

    assert (text(got[0]), got[1], server.script) == ("once", b"data: \xff\n\n", script)
    assert told["requests"] == 2
    assert [entry["generated"] for entry in told["journal"]] == [1, 3]
    assert told["journal"][0]["user"] == "77"
    assert told["journal"][0]["request"]["messages"] == QUESTION
