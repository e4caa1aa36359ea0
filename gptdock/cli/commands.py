"""The commands `serve`, `dev` and `tables`: each takes the environment as a mapping, returns an exit code."""

import argparse
import asyncio
import gc
import logging
import socket
from collections.abc import Mapping
from pathlib import Path

from gptdock.cli.check import environment_file
from gptdock.errors import SettingsError
from gptdock.http import app, server
from gptdock.ledger.store import Store
from gptdock.settings import Settings
from gptdock.telemetry import logs

log = logging.getLogger(__name__)


def configured(environ: Mapping[str, str], log_level: str | None = None) -> Settings:
    """Read the settings and configure logging by them. Raises SettingsError."""
    settings = Settings.from_env(environ)
    logs.configure(log_level or settings.log_level, settings.log_format)
    return settings


def run_serve(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; 0 if everything was settled. Raises SettingsError, OSError."""
    settings = configured(environ)
    if fault := environment_file(Path(".env")):
        log.warning("keys are not safe", extra={"fault": fault})
    with asyncio.Runner(loop_factory=_fastest_loop) as runner:
        return runner.run(_serve(settings, parsed.fd))


def run_dev(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Serve the local stack until SIGTERM or SIGINT; 0 if everything was settled. Raises SettingsError."""
    return asyncio.run(_dev(environ))


def run_tables(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Create the tables that are missing. Raises SettingsError, LedgerUnavailable."""
    return asyncio.run(_tables(configured(environ)))


async def _dev(environ: Mapping[str, str]) -> int:
    try:
        from gptdock.dev import stack  # needs moto, which is not installed in production
    except ModuleNotFoundError as exc:
        raise SettingsError(f"dev needs {exc.name}: pip install '.[dev]'") from exc
    return await stack.run(environ)


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

    And collect less often: by default the collector runs every 700 objects, of which a request makes as many.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _tables(settings: Settings) -> int:
    async with Store.connected(settings) as store:
        await store.create_tables()
    return 0
