"""Fixtures of all tests: real servers on loopback, started anew for each test."""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace

import pytest
from hypothesis import settings

from gptdock import __main__
from gptdock.dev.dynamodb import serve_dynamodb
from gptdock.dev.openai import SimulatedOpenAI, serve_openai
from gptdock.ledger import aws, http_client
from gptdock.ledger.store import Store
from gptdock.prompt.tokens import Tokens
from gptdock.upstream import exchange
from tests.harness.garbage import is_of_a_package
from tests.harness.processes import PATIENCE_SECONDS, Finished
from tests.harness.proxy import Proxy, proxied
from tests.harness.relays import private_ca
from tests.harness.service import (
    NOBODY,
    Service,
    make_settings,
    make_tables_anew,
    running,
    serve_tables,
    take_the_plain_way,
)

settings.register_profile("gptdock", deadline=None)  # on a busy machine an example may exceed the default of 200 ms
settings.load_profile("gptdock")


def pytest_xdist_auto_num_workers() -> int:
    """The number of workers for `-n auto`: one more than cores, because tests wait for a fifth of their time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)  # after pytest's own hook is in its place
def pytest_configure() -> None:
    """Have nothing reported that is no fault of the test which runs when the garbage collector comes by."""
    report = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: None if is_of_a_package(unraisable) else report(unraisable)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the garbage collector pass over what was imported: it stays, and to look at all of it takes 0.2 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Has each store and process trust one authority: to read all, also without TLS, takes 50 ms of CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CA_BUNDLE", str(private_ca(tmp_path_factory.mktemp("authority"))[0]))
        yield


@pytest.fixture(scope="session")
def tokens():
    """The tokenizer of the default model, loaded once."""
    tokens = Tokens("gpt-4o-mini")
    yield tokens
    tokens.close()


@pytest.fixture
def deadlines_as_served() -> None:
    """Leaves the deadlines of calls to DynamoDB as users have them, for a test of what happens then."""


@pytest.fixture(autouse=True)
def patience_with_moto(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has stores in the test's process wait longer for DynamoDB: where all cores are busy, moto may take seconds.

    Not with `deadlines_as_served`, nor where a test sets a deadline itself.
    """
    if "deadlines_as_served" in request.fixturenames:
        return
    for module in (aws, http_client):
        monkeypatch.setattr(module, "CONNECT_SECONDS", PATIENCE_SECONDS)
        monkeypatch.setattr(module, "READ_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(aws, "CALL_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(http_client, "WAIT_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Restores at the end what `telemetry.logs.configure` changes."""
    loggers = [logging.getLogger(name) for name in (None, "gptdock", "aiohttp.server")]
    before = [(each.level, list(each.handlers), list(each.filters)) for each in loggers]
    optimized = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")
    switches = {name: getattr(logging, name) for name in optimized}
    yield
    vars(logging).update(switches)
    for each, (level, handlers, filters) in zip(loggers, before, strict=True):
        each.setLevel(level)
        each.handlers, each.filters = handlers, filters


@pytest.fixture
def gptdock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], logging_as_it_was: None
) -> Callable[..., Awaitable[Finished]]:
    """Runs `gptdock` with an environment and arguments, and returns what it left.

    It runs in a thread, because a process takes a second to start.
    """

    async def finish(env: dict[str, str], *arguments: str) -> Finished:
        monkeypatch.setattr(__main__, "_environment", lambda: env)
        try:
            code = await asyncio.to_thread(__main__.main, arguments)
        except SystemExit as exc:
            code = int(str(exc))
        return Finished(code, *capsys.readouterr())

    return finish


@pytest.fixture
async def dynamodb() -> AsyncIterator[str]:
    """The URL of a DynamoDB with our empty tables: moto's, or the one at CONFORMANCE_ENDPOINT (`make conformance`)."""
    other = os.environ.get("CONFORMANCE_ENDPOINT")
    if other:
        await make_tables_anew(other)
        yield other
        return
    async with serve_tables() as url:
        yield url


@pytest.fixture
async def without_tables() -> AsyncIterator[str]:
    """The URL of a DynamoDB without tables."""
    async with serve_dynamodb() as url:
        yield url


@pytest.fixture
async def openai(tokens: Tokens) -> AsyncIterator[SimulatedOpenAI]:
    """A simulated OpenAI that answers at once."""
    async with serve_openai(pieces=tokens.pieces) as server:
        yield server


@pytest.fixture(params=["dynamo", "aiobotocore"])
def each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every store that is connected from now on call DynamoDB in one way, then in the other."""
    if request.param == "aiobotocore":
        monkeypatch.setattr(aws, "_special", lambda _endpoint: "a test")


@pytest.fixture(params=["tapped", "plainly"])
def each_flow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has each service that is started from now on use Tap and Poster, then none, as where aiohttp allows none."""
    if request.param == "plainly":
        take_the_plain_way(monkeypatch)


@pytest.fixture
async def store(dynamodb: str) -> AsyncIterator[Store]:
    """A store on the tables of `dynamodb`."""
    async with Store.connected(make_settings(dynamodb, NOBODY)) as store:
        yield store


@pytest.fixture
async def proxy(dynamodb: str, deadlines_as_served: None) -> AsyncIterator[Proxy]:
    """A proxy in front of `dynamodb` that can break calls."""
    async with proxied(dynamodb) as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: Proxy, store: Store) -> AsyncIterator[Store]:
    """A store whose calls go through `proxy`."""
    async with Store.connected(make_settings(proxy.url, NOBODY)) as behind:
        yield behind


@pytest.fixture
def upstream_clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of exchanges with the upstream, which stands until a test moves it."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(exchange, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def serve(dynamodb: str, openai: SimulatedOpenAI) -> Callable[..., AbstractAsyncContextManager[Service]]:
    """Runs GPTDock with changed settings: `async with serve(max_streams=2) as service`."""

    def start(**changes: object) -> AbstractAsyncContextManager[Service]:
        return running(make_settings(dynamodb, openai.url, **changes), openai)

    return start


@pytest.fixture
async def service(serve: Callable[..., AbstractAsyncContextManager[Service]]) -> AsyncIterator[Service]:
    """GPTDock with the settings of `make_settings`."""
    async with serve() as service:
        yield service
