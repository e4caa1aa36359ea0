"""The commands `serve`, `dev` and `tables`: each takes the environment as a mapping, returns an exit code."""

import argparse
import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from gptdock.cli.check import environment_file
from gptdock.dev import beside
from gptdock.errors import SettingsError
from gptdock.http import app, server
from gptdock.ledger import protection
from gptdock.ledger.store import Store
from gptdock.settings import Settings
from gptdock.telemetry import logs

log = logging.getLogger(__name__)

KEYS_NOT_NEEDED = {"OPEN_AI_KEY": "-not-needed-", "PRE_SHARED_KEY": "-not-needed-"}


def configured(environ: Mapping[str, str], log_level: str | None = None) -> Settings:
    """Read the settings and configure logging by them. Raises SettingsError."""
    settings = Settings.from_env(environ)
    logs.configure(log_level or settings.log_level, settings.log_format)
    for name, meant in Settings.near_misses(environ):
        log.warning("no such setting", extra={"variable": name, "meant": meant})
    return settings


def configured_for_operators(environ: Mapping[str, str], log_level: str | None = None) -> Settings:
    """As `configured`, but without the keys of OpenAI and of callers, which work on DynamoDB does not need.

    It is the DynamoDB of the `gptdock dev` that runs in this folder, if the settings name no other.
    """
    given = KEYS_NOT_NEEDED | dict(environ)
    if url := beside.found(environ):
        given |= beside.KEYS | {"AWS_ENDPOINT_URL_DYNAMODB": url}
        sys.stderr.write(f"gptdock: works on the DynamoDB of `gptdock dev`, {url}\n")
    return configured(given, log_level)


def run_serve(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; 0 if everything was settled. Raises SettingsError, OSError."""
    settings = configured(environ)
    if fault := environment_file(Path(".env")):
        log.warning("keys are not safe", extra={"fault": fault})
    with asyncio.Runner(loop_factory=_fastest_loop) as runner:
        return runner.run(_serve(settings, parsed.fd))


def run_dev(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve the local stack until SIGTERM or SIGINT; 0 if everything was settled. Raises SettingsError."""
    try:
        from gptdock.dev import stack  # needs moto, which is not installed in production
    except ModuleNotFoundError as exc:
        raise SettingsError(f"dev needs {exc.name}: pip install '.[dev]'") from exc
    given = dict(environ) | ({"PORT": parsed.port} if parsed.port else {})
    return asyncio.run(stack.run(configured(stack.completed(given)), parsed.data))


def run_tables(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Create the tables that are missing, and protect both. Raises SettingsError, LedgerUnavailable."""
    return asyncio.run(_tables(configured_for_operators(environ), protected=not parsed.no_protection))


async def _serve(settings: Settings, fd: int | None) -> int:
    stop = server.stop_on_signals()
    sock = server.listen(settings) if fd is None else socket.socket(fileno=fd)
    return 0 if await server.serve(app.create(settings), sock, stop, ready=_spare_collections) else 1


def _fastest_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, with which a stream over TLS takes 64 KiB instead of 282; where that cannot be imported, asyncio's."""
    try:
        import uvloop
    except ImportError:
        log.warning("uvloop is not available: asyncio serves, with more memory for each stream over TLS")
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _spare_collections() -> None:
    """Keep what exists by now out of the garbage collector: a full collection takes 0.1 ms then, not 38.

    And collect less often: by default the collector runs every 700 objects, of which a request makes as many. It may
    not wait for too many either: 50,000 take 16 ms, for which all streams stand still, and 10,000 take 2.2 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 100, 50)


async def _tables(settings: Settings, *, protected: bool) -> int:
    async with Store.connected(settings) as store:
        await store.create_tables()
        if protected:
            await protection.protect(store)
    return 0
