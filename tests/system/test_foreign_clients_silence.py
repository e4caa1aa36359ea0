"""Clients written for OpenAI ignore the comments that a silent stream has."""

import asyncio
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from openai import OpenAI
from pydantic import SecretStr

from gptdock.dev.script import Script
from gptdock.http.caller import PING, Caller
from tests.harness.service import KEY, Service
from tests.system.test_foreign_clients import ASKED, WHO, openai_s


def langchain_s(service: Service, model: str) -> ChatOpenAI:
    """LangChain's client, which asks for the usage of streams."""
    key = SecretStr(KEY)
    return ChatOpenAI(base_url=f"{service.url}/v1", api_key=key, default_headers=WHO, model=model, stream_usage=True)


@pytest.mark.parametrize("silent_at", [0, 1, 5], ids=["first event", "first text", "later"])
async def test_no_client_minds_the_comments_of_a_silent_stream(serve, monkeypatch: pytest.MonkeyPatch, silent_at: int):
    asked, write_now = ASKED | {"model": "o4-mini", "stream": True}, Caller.write_now
    async with serve(openai_model="o4-mini", ping_seconds=0.05) as service, openai_s(service) as client:

        def write_and_release(caller: Caller, data: bytes) -> bool:
            goes_on = write_now(caller, data)
            if data == PING:
                service.openai.release()
            return goes_on

        def ask_without_async() -> str:
            with OpenAI(base_url=f"{service.url}/v1", api_key=KEY, default_headers=WHO) as client:
                return "".join(
                    chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked)
                )

        monkeypatch.setattr(Caller, "write_now", write_and_release)
        service.openai.script = Script(answer="Whole.", hold_at=silent_at)
        chunks: list[Any] = [chunk async for chunk in await client.chat.completions.create(**asked)]
        by_langchain = [chunk async for chunk in langchain_s(service, "o4-mini").astream("Who are you?")]

        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Whole."
        assert "".join(str(chunk.content) for chunk in by_langchain) == "Whole."
        assert await asyncio.to_thread(ask_without_async) == "Whole."
