"""An error about a limit says its number, and what came."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gptdock.dev.script import Script
from tests.harness.service import QUESTION, Service
from tests.http.test_openai_routes import MESSAGES, WHO

CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES}


async def told(service: Service, path: str, body: Any) -> str:
    """The message of the error that answers this body; one of bytes is sent in chunks."""
    sent = {"data": _pieces(body)} if isinstance(body, bytes) else {"json": body}
    async with service.session.post(service.url + path, headers=WHO, **sent) as response:
        return str((await response.json())["error"]["message"])


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """For a body whose length is not told."""
    yield body


@pytest.mark.parametrize(
    ("path", "body", "numbers"),
    [
        ("/v1/ask", QUESTION | {"question": "word " * 90}, ["tokens", "; 80 are allowed"]),
        ("/v1/ask", QUESTION | {"user_id": "x" * 256}, ["1 to 255 bytes", "it has 256"]),
        ("/v1/ask", QUESTION | {"history": [{}] * 1001}, ["at most 1000 messages", "it has 1001"]),
        ("/v1/ask", QUESTION | {"question": "x" * 9000}, ["The request body has 9", "; 8192 are allowed"]),
        ("/v1/ask", b"x" * 9000, ["more than 8192 bytes"]),
        ("/v1/chat/completions", CHAT | {"messages": MESSAGES * 20}, ["have 163 tokens", "; 80 are allowed"]),
        ("/v1/chat/completions", CHAT | {"messages": []}, ["1 to 1000 messages", "it has 0"]),
        ("/v1/chat/completions", CHAT | {"max_tokens": 0}, ["from 1 to 1000000000", "it is 0"]),
        ("/v1/chat/completions", CHAT | {"model": "gpt-9"}, ["Served are: gpt-4o-mini, gpt-4o"]),
    ],
)
async def test_a_limit_says_its_number_and_what_came(serve, path: str, body: Any, numbers: list[str]):
    async with serve(max_body_bytes=8192, max_prompt_tokens=80, openai_models="gpt-4o") as service:
        message = await told(service, path, body)

    assert [number for number in numbers if number not in message] == []


async def test_a_process_with_too_many_answers_says_how_many(serve):
    async with serve(max_streams=1) as service:
        service.openai.script = Script(hold_at=2)
        async with service.ask(stream=True) as held:
            assert (await told(service, "/v1/chat/completions", CHAT)).startswith("1 completions are open")
            service.openai.release()
            await held.read()
