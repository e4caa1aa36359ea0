"""`gptdock dev`: GPTDock and all it needs in one process, to try it or to develop a backend against it.

DynamoDB is moto's, in memory, unless AWS_ENDPOINT_URL_DYNAMODB is set; OpenAI is simulated unless OPEN_AI_KEY is set.
The environment overrides the defaults here.
"""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from gptdock.dev import beside, hosts, paths, plays, welcome
from gptdock.dev.data_file import DataFile
from gptdock.dev.dynamodb import Tables, serve_dynamodb
from gptdock.dev.openai import SimulatedOpenAI, serve_openai
from gptdock.errors import LedgerUnavailable, SettingsError
from gptdock.http import app, server
from gptdock.http.app_keys import SERVICES
from gptdock.ledger.store import Store
from gptdock.prompt.tokens import Tokens
from gptdock.settings import Settings

DEFAULTS = {
    "HOST": "127.0.0.1",
    "PRE_SHARED_KEY": "dev-key",
    "ADMIN_KEY": "dev-admin-key",
    "FORGET_KEY": "dev-forget-key-of-32-characters-or-more",
    "DASHBOARD": "on",
    "LOG_FORMAT": "text",
    "DRAIN_SECONDS": "1",
}
SIMULATED = "simulated"
BEFORE_THE_KEY = 2  # behind the middlewares that log a request and form its errors
DYNAMODB_PORT = 1000  # above PORT, so that each `make run` has its own


def completed(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the defaults of `gptdock dev`; without a key of OpenAI, that of the simulated one."""
    has_key = environ.get("OPEN_AI_KEY") or environ.get("OPENAI_API_KEY")
    return DEFAULTS | ({} if has_key else {"OPEN_AI_KEY": SIMULATED}) | dict(environ)


async def run(settings: Settings, data: Path | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; 0 if everything was settled, otherwise 1. Raises SettingsError.

    `settings` are of an environment that is `completed`, `data` is the file in which the tables in memory are kept.
    """
    stop, simulated = server.stop_on_signals(), settings.open_ai_key == SIMULATED
    in_memory = settings.aws_endpoint_url_dynamodb is None
    if data and not in_memory:
        raise SettingsError("--data needs the DynamoDB in memory: AWS_ENDPOINT_URL_DYNAMODB must be unset")
    async with AsyncExitStack() as stack:
        sock = stack.enter_context(_listen(settings))
        tables = _in_memory(settings, data) if in_memory else _elsewhere(settings)
        settings = await stack.enter_async_context(tables)
        openai = await stack.enter_async_context(_simulated(settings)) if simulated else None
        settings = replace(settings, openai_base_url=openai.url) if openai else settings
        shown = welcome.Stack(settings, sock.getsockname()[1], simulated, in_memory, str(data or ""))
        application = _application(settings, openai)
        settled = await server.serve(application, sock, stop, lambda: print(welcome.text(shown), flush=True))
        return 0 if settled else 1


def _listen(settings: Settings) -> socket.socket:
    try:
        return server.listen(settings)
    except SettingsError as exc:
        raise SettingsError(f"{exc}; another one: make run PORT={settings.port + 1}") from exc


@asynccontextmanager
async def _in_memory(settings: Settings, data: Path | None) -> AsyncIterator[Settings]:
    """Runs a DynamoDB with our tables, which commands in this folder find; yields the settings with its address."""
    tables, file = Tables(), DataFile(data) if data else None
    async with AsyncExitStack() as stack:
        if file:
            stack.callback(file.close)
        keep = (lambda kept: file.keep(kept[settings.aws_region])) if file else None
        port = _free(settings.port + DYNAMODB_PORT if settings.port else 0)
        url = await stack.enter_async_context(serve_dynamodb(port=port, tables=tables, keep=keep))
        key = beside.KEYS["AWS_ACCESS_KEY_ID"]
        there = {"aws_access_key_id": key, "aws_secret_access_key": key, "aws_endpoint_url_dynamodb": url}
        settings = replace(settings, **there)  # type: ignore[arg-type]
        await _create_tables(settings, attempts=5)  # moto's first calls take seconds on a busy machine
        if file:
            file.fill(tables[settings.aws_region])
        stack.enter_context(beside.announced(url))
        yield settings


@asynccontextmanager
async def _elsewhere(settings: Settings) -> AsyncIterator[Settings]:
    await _create_tables(settings)
    yield settings


@asynccontextmanager
async def _simulated(settings: Settings) -> AsyncIterator[SimulatedOpenAI]:
    async with serve_openai(pieces=Tokens(settings.openai_model).pieces, script=plays.HUMAN_PACE) as openai:
        yield openai


def _application(settings: Settings, openai: SimulatedOpenAI | None) -> web.Application:
    """GPTDock's, with what only `gptdock dev` has."""
    application = app.create(settings)
    application[SERVICES].shows_causes = True
    application[SERVICES].here = {
        "dev": True,
        "key": _if_known(settings.pre_shared_key, "PRE_SHARED_KEY"),
        "admin_key": _if_known(settings.admin_key, "ADMIN_KEY"),
        "plays": [],
    }
    if openai:
        plays.add_to(application, openai)
        application[SERVICES].here["plays"] = list(plays.PLAYS)
    return for_trial(application, settings)


def for_trial(application: web.Application, settings: Settings) -> web.Application:
    """The same application, which then answers only requests of this machine, and logs paths that are not served."""
    application.middlewares[BEFORE_THE_KEY:BEFORE_THE_KEY] = [hosts.only_local(settings.host), paths.note_unknown]
    return application


def _if_known(keys: tuple[str, ...], name: str) -> str:
    """The key that everybody knows, if it is the one in use: another is a secret."""
    return DEFAULTS[name] if DEFAULTS[name] in keys else ""


async def _create_tables(settings: Settings, attempts: int = 1) -> None:
    async with Store.connected(settings) as store:
        for left in reversed(range(attempts)):
            try:
                await store.create_tables()
                return
            except LedgerUnavailable:
                if not left:
                    raise


def _free(port: int) -> int:
    """This port of loopback, or 0 (any) if it cannot be had."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except (OSError, OverflowError):
        return 0
    return port
