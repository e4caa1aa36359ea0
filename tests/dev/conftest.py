"""A simulated OpenAI whose answer is three words, and a session to ask it."""

import aiohttp
import pytest

from gptdock.dev.openai import serve_openai
from tests.harness.simulated import THREE


@pytest.fixture
async def server():
    async with serve_openai(script=THREE) as server:
        yield server


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session
