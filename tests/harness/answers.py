"""Answers of an upstream as bytes, and a caller who reads what becomes of them."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness.service import Service

RECORDED = (Path(__file__).parents[1] / "data/ask_stream.sse").read_bytes()
TEXT = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
USAGE_OF_5 = b'data: {"choices":[],"usage":{"total_tokens":5}}\n\n'


async def read_answer(service: Service, **fields: Any) -> bytes:
    """The body of the answer to the usual question, with these fields over it; empty if it broke off."""
    with suppress(aiohttp.ClientError):
        async with service.ask(**fields) as response:
            return await response.read()
    return b""
