"""What each command does; settings come in as a mapping, never from the process's environment itself."""

import argparse
import asyncio
import socket
from collections.abc import Mapping

from gptdock import app, server, store, telemetry
from gptdock.settings import Settings


def run(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the command that was parsed, and return the process's exit code. Raises SettingsError, OSError."""
    if parsed.command == "dev":
        from gptdock.dev import stack  # needs moto, which production does without

        return asyncio.run(stack.run(environ))
    settings = Settings.from_env(environ)
    telemetry.configure(settings.log_level, settings.log_format)
    if parsed.command == "tables":
        return asyncio.run(_tables(settings))
    return asyncio.run(_serve(settings, parsed.fd))


async def _serve(settings: Settings, fd: int | None) -> int:
    stop = server.stop_on_signals()
    sock = server.listen(settings) if fd is None else socket.socket(fileno=fd)
    return 0 if await server.serve(app.create(settings), sock, stop) else 1


async def _tables(settings: Settings) -> int:
    async with store.connect(settings) as tables:
        await tables.create_tables()
    return 0
