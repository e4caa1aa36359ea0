"""A client of the simulated OpenAI: asks it over HTTP, and reads its answers and its faults."""

import json
from pathlib import Path

import aiohttp

from gptdock.dev.script import Script

RECORDED = (Path(__file__).parents[1] / "data" / "ask_stream.sse").read_bytes()
KEY = {"Authorization": "Bearer sk-dummy"}
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How are you?"}]
THREE = Script(answer="one two three")
PROMPT_TOKENS = 2 * 3 + (1 + 2) + (1 + 3) + 3
BROKEN = (aiohttp.ClientPayloadError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)


def three_words(**more):
    """A script whose answer is three words, which are three tokens without a tokenizer; `more` are fields of it."""
    return Script(answer="one two three", **more)


def ask(server, session, headers=KEY, **more):
    body = {"model": "gpt-4o-mini", "messages": QUESTION, "user": "77"} | more
    return session.post(f"{server.url}/chat/completions", json=body, headers=headers, allow_redirects=False)


def ask_stream(server, session, **more):
    return ask(server, session, **{"stream": True, "stream_options": {"include_usage": True}} | more)


async def read(response):
    """The bytes that came, and whether the body ended properly."""
    data = b""
    try:
        async for piece in response.content.iter_any():
            data += piece
    except BROKEN:
        return data, False
    return data, True


async def stream(server, session, **more):
    async with ask_stream(server, session, **more) as response:
        return await read(response)


async def read_stream(server, session, **more):
    data, _ = await stream(server, session, **more)
    return data


def payloads(data):
    return [event.removeprefix("data: ") for event in data.decode().split("\n\n")[:-1]]


def chunks(data):
    return [json.loads(payload) for payload in payloads(data) if payload != "[DONE]"]


def text(data):
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks(data) if chunk["choices"])
