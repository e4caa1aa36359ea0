"""What all tests share: real servers on loopback, one set a test."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from gptdock import store
from gptdock.dev.dynamodb import serve_dynamodb
from gptdock.dev.openai import SimulatedOpenAI, serve_openai
from gptdock.store import Store
from gptdock.tokens import Tokens
from tests.proxy import Proxy, proxied
from tests.service import Service, drop_tables, make_settings, running

NOBODY = "http://127.0.0.1:1/v1"  # an upstream that is never called


@pytest.fixture(scope="session")
def tokens():
    """The tokenizer of the default model, loaded once."""
    tokens = Tokens("gpt-4o-mini")
    yield tokens
    tokens.close()


@pytest.fixture
async def dynamodb() -> AsyncIterator[str]:
    """The URL of an empty DynamoDB: moto's, or another one that `make conformance` names."""
    other = os.environ.get("CONFORMANCE_ENDPOINT")
    if other:
        await drop_tables(other)
        yield other
        return
    async with serve_dynamodb() as url:
        yield url


@pytest.fixture
async def openai(tokens: Tokens) -> AsyncIterator[SimulatedOpenAI]:
    """A simulated OpenAI that answers at once."""
    async with serve_openai(pieces=tokens.pieces) as server:
        yield server


@pytest.fixture
async def tables(dynamodb: str) -> AsyncIterator[Store]:
    """A store with its tables."""
    async with store.connect(make_settings(dynamodb, NOBODY)) as tables:
        await tables.create_tables()
        yield tables


@pytest.fixture
async def proxy(dynamodb: str) -> AsyncIterator[Proxy]:
    """What stands before DynamoDB and breaks calls."""
    async with proxied(dynamodb) as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: Proxy, tables: Store) -> AsyncIterator[Store]:
    """A store whose calls go through the proxy."""
    async with store.connect(make_settings(proxy.url, NOBODY)) as behind:
        yield behind


@pytest.fixture
def serve(dynamodb: str, openai: SimulatedOpenAI) -> Callable[..., AbstractAsyncContextManager[Service]]:
    """Starts GPTDock with changed settings: `async with serve(max_streams=2) as service`."""

    def start(**changes: object) -> AbstractAsyncContextManager[Service]:
        return running(make_settings(dynamodb, openai.url, **changes), openai)

    return start


@pytest.fixture
async def service(serve: Callable[..., AbstractAsyncContextManager[Service]]) -> AsyncIterator[Service]:
    """GPTDock with the usual settings."""
    async with serve() as service:
        yield service
