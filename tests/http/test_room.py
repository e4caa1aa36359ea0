"""Large answers: how much of them a process keeps at once, and how they are sent."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gptdock.dev.script import Script
from gptdock.errors import Overloaded
from gptdock.http.app_keys import SERVICES
from gptdock.http.caller import PIECE_BYTES
from gptdock.http.room import Room
from tests.harness.hostile import Fault, check_nothing_is_left, deaf_caller, fault_of
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import Service

WHO = {"X-Client-Id": "c1", "X-Product-Id": "p1"}
MODEL = "text-embedding-3-small"
VECTOR_BYTES = 1536 * 32
LOGPROBS = {"include": ["message.output_text.logprobs"], "top_logprobs": 20, "input": "Why?"}
CHAT_LOGPROBS = {"logprobs": True, "top_logprobs": 20, "messages": [{"role": "user", "content": "Why?"}]}


def post(service: Service, route: str, **fields: Any):
    body, patience = {"model": "gpt-4o-mini"} | fields, aiohttp.ClientTimeout(2 * PATIENCE_SECONDS)
    return service.session.post(f"{service.url}/v1/{route}", json=body, headers=WHO, timeout=patience)


def test_room_is_given_back_however_its_block_ends():
    room = Room(10)
    with suppress(KeyError), room.of(7):
        with pytest.raises(Overloaded), room.of(4):
            pass
        with room.of(3):
            assert room.bytes_left == 0
        raise KeyError

    assert room.bytes_left == 10


async def test_what_has_no_room_is_refused_before_the_upstream_is_asked(serve):
    async with serve(openai_embedding_models=MODEL) as service:
        room = service.app[SERVICES].room
        room.bytes_left = 3 * VECTOR_BYTES
        service.openai.script = Script(hold_at=0)
        first = asyncio.create_task(post(service, "embeddings", model=MODEL, input=["a", "b"]).__aenter__())
        await service.openai.journal.arrived()
        async with post(service, "embeddings", model=MODEL, input=["a", "b"]) as response:
            assert await fault_of(response) == Fault(503, "overloaded")
            assert response.headers["Retry-After"] == "1"
        service.openai.script = Script()
        async with post(service, "responses", input="Why?", max_output_tokens=16) as response:
            assert response.status == 200
        service.openai.release()
        (await first).release()

        assert service.openai.requests == 2
        await service.ledger.settled()
        assert room.bytes_left == 3 * VECTOR_BYTES


@pytest.mark.parametrize(
    ("route", "fields", "param"),
    [
        ("chat/completions", CHAT_LOGPROBS | {"max_tokens": 3000}, "top_logprobs"),
        ("chat/completions", CHAT_LOGPROBS, "top_logprobs"),
        ("chat/completions", CHAT_LOGPROBS | {"max_tokens": 2000}, None),
        ("chat/completions", CHAT_LOGPROBS | {"stream": True}, None),
        ("chat/completions", CHAT_LOGPROBS | {"logprobs": False}, None),
        ("responses", LOGPROBS | {"stream": True, "max_output_tokens": 2000}, "top_logprobs"),
        ("responses", LOGPROBS | {"stream": True, "max_output_tokens": 1500}, None),
        ("responses", LOGPROBS | {"max_output_tokens": 2000}, None),
        ("responses", LOGPROBS, "top_logprobs"),
        ("responses", LOGPROBS | {"include": []}, None),
        ("responses", LOGPROBS | {"top_logprobs": 2.0}, None),
    ],
)
async def test_likely_tokens_that_make_an_answer_too_large_are_refused(serve, route: str, fields: Any, param: Any):
    """It would be paid for, and cut or not passed on."""
    async with serve(max_completion_tokens=4000) as service:
        service.openai.script = Script(tokens=3)
        async with post(service, route, **fields) as response:
            if param is None:
                assert response.status == 200
            else:
                assert await fault_of(response) == Fault(400, "invalid_request", param)
                assert "tokens at most; it may have" in await response.text()

        assert service.openai.requests == (param is None)


async def test_a_large_answer_waits_for_its_caller_piece_by_piece(serve, monkeypatch: pytest.MonkeyPatch):
    write, waiting = web.StreamResponse.write, list[int]()

    async def noting(response: web.StreamResponse, data: Any) -> None:
        request = response._req
        if request is not None and request.transport is not None and request.path == "/v1/ask":
            waiting.append(request.transport.get_write_buffer_size() + len(data))
        await write(response, data)

    monkeypatch.setattr(web.StreamResponse, "write", noting)
    raw = json.dumps({"choices": [{"message": {"content": "x" * 8 * 2**20}}], "usage": {"total_tokens": 9}}).encode()
    async with serve(write_timeout=0.5) as service:
        service.openai.script = Script(raw=raw, content_type="application/json")
        async with service.ask() as response:
            assert (response.content_length, await response.read()) == (len(raw), raw)
        with await deaf_caller(service, stream=False):
            await service.openai.journal.ended(2)
            receipts = await service.receipts()

        assert len(waiting) > len(raw) // PIECE_BYTES
        assert max(waiting) < 4 * PIECE_BYTES
        assert [each["tokens"] for each in receipts] == [9, 9]
        await check_nothing_is_left(service, used=18)
