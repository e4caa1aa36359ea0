"""What a stream keeps in memory as long as it lasts, through the whole service."""

import asyncio
import gc
import json
import time
from typing import Any

import pytest

from gptdock.dev.script import Script
from gptdock.http.app_keys import SERVICES
from gptdock.prompt.ask import ChatRequest, Prompt
from gptdock.routes.chat import CompletionRequest
from gptdock.routes.responses import ResponseRequest
from tests.harness.hostile import AUTHORIZED, connect, question, request
from tests.harness.ours import is_our_module
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.service import Service

ASKED = "a question that nobody else asks"  # what other tests left in memory does not have it
ACCOUNT = AUTHORIZED | {"X-Client-Id": "c1", "X-Product-Id": "p1"}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/ask": json.loads(question(question=ASKED, stream=True)),
    "/v1/chat/completions": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": ASKED}], "stream": True},
    "/v1/responses": {"model": "gpt-4o-mini", "input": ASKED, "stream": True},
}
PARSED = (ChatRequest, CompletionRequest, ResponseRequest)


@pytest.mark.parametrize("path", BODIES)
async def test_a_stream_keeps_nothing_of_its_question(service: Service, path: str):
    await _check_that_nothing_is_kept(service, path, Script(hold_at=3), b"data: ")


async def test_a_stream_whose_model_thinks_keeps_nothing_of_its_question(serve):
    async with serve(openai_model="o4-mini", ping_seconds=0.05) as service:
        await _check_that_nothing_is_kept(service, "/v1/ask", Script(hold_at=0), b": ping")


async def _check_that_nothing_is_kept(service: Service, path: str, script: Script, line: bytes) -> None:
    """Once this line came of a stream that is held."""
    service.openai.script = script
    asked = f"{ASKED} {time.monotonic_ns()}"
    async with connect(service) as connection:
        async with asyncio.timeout(PATIENCE_SECONDS):
            content = json.dumps(BODIES[path]).replace(ASKED, asked).encode()
            head, _, body = request("POST", path, ACCOUNT, content).partition(b"\r\n\r\n")
            del content
            connection.send(head + b"\r\n\r\n")
            while not service.app[SERVICES].connections._busy:  # noqa: ASYNC110 - then the body comes alone
                await asyncio.sleep(0)
            connection.send(body)
            del body
            while line not in await connection.line():
                pass

        # On a busy machine this takes seconds: after thousands of tests, many objects are left.
        kept = [part for each in gc.get_objects() for part in gc.get_referents(each) if _tells(part, asked)]
        service.openai.release()

    assert len({id(part) for part in kept}) == 1, kept  # what the simulated upstream was sent


async def test_what_a_stream_adds_to_memory_has_slots(service: Service):
    async with service.ask(stream=True) as response:  # the first opens the client's book
        await response.read()
    service.openai.script = Script(hold_at=3)
    gc.collect()
    before = gc.get_objects()  # kept, so that no new object has the id of one of them
    known = set(map(id, before))

    async with service.ask(stream=True) as response:
        await response.content.readuntil(b"\n\n")
        added = {type(each) for each in gc.get_objects() if id(each) not in known}
        service.openai.release()

    ours = {kind for kind in added if is_our_module(kind.__module__)}
    slack = {kind.__name__ for kind in ours if kind.__dictoffset__}
    assert slack <= {"Bill", "Hold"}, "an object without slots takes 100 bytes more"
    assert "Meter" in {kind.__name__ for kind in ours}


def _tells(part: object, asked: str) -> bool:
    if isinstance(part, bytes):
        return asked.encode() in part
    return isinstance(part, (*PARSED, Prompt)) and asked in repr(part)
