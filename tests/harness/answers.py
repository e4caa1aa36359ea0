"""Answers of an upstream as bytes, and a caller who reads what becomes of them."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness.service import Service

RECORDED = (Path(__file__).parents[1] / "data/ask_stream.sse").read_bytes()
HELLO = b'data: {"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
TEXT = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
USAGE_OF_5 = b'data: {"choices":[],"usage":{"total_tokens":5}}\n\n'


def reported(prompt: object, completion: object, total: object) -> bytes:
    """A usage chunk."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    return b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"


async def read_answer(service: Service, **fields: Any) -> bytes:
    """The body of the answer to the usual question, with these fields over it; empty if it broke off."""
    with suppress(aiohttp.ClientError):
        async with service.ask(**fields) as response:
            return await response.read()
    return b""
