"""The command `check`: whether a process could serve with these settings; one line for each thing that it needs."""

import argparse
import asyncio
import http.client
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from gptdock.errors import LedgerUnavailable, SettingsError
from gptdock.http import server
from gptdock.ledger import probes
from gptdock.ledger.store import Store
from gptdock.settings import Settings
from gptdock.telemetry import logs
from gptdock.upstream import probe

WIDTH = 16  # of the names


def run(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print a line for each check; 1 if one failed."""
    logs.configure("ERROR", "text")
    failed = _told("environment file", environment_file(Path(".env")))
    try:
        settings = Settings.from_env(environ)
    except SettingsError as exc:
        return _told("settings", str(exc))
    failed += _told("settings", "") + _told("address", _address(settings))
    return 1 if failed + asyncio.run(_others(settings)) else 0


def environment_file(path: Path) -> str:
    """What is wrong with the file that holds the keys: others could read it, or its own reader change it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ""
    if found.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        return f"{path} can be read or changed by others: chown root:gptdock, chmod 640"
    if os.geteuid() != 0 and os.access(path, os.W_OK):
        return f"{path} can be changed by the user that serves: chown root:gptdock, chmod 640"
    return ""


async def _others(settings: Settings) -> int:
    failed = _told("key at OpenAI", await _outcome(probe.key(settings)))
    async with Store.connected(settings) as store:
        needs_tables: dict[str, Callable[[Store], Awaitable[str]]] = {
            "expiry": probes.expiry,
            "permissions": partial(
                probes.permissions, admin=bool(settings.admin_key), forgets=bool(settings.forget_key)
            ),
            "clock": probes.clock,
        }
        missing = await _outcome(probes.tables(store))
        failed += _told("tables", missing)
        for name, look in ({} if missing else needs_tables).items():
            failed += _told(name, await _outcome(look(store)))
    return failed


async def _outcome(look: Awaitable[str]) -> str:
    try:
        return await look
    except LedgerUnavailable as exc:
        return f"DynamoDB cannot be used: {exc.fault or exc}"
    except SettingsError as exc:
        return str(exc)


def _address(settings: Settings) -> str:
    try:
        server.listen(settings).close()
    except SettingsError as exc:
        return "" if _is_ours(settings) else str(exc)
    return ""


def _is_ours(settings: Settings) -> bool:
    """Whether a GPTDock serves there, as during an upgrade."""
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=2)
    try:
        connection.request("GET", "/v1/health")
        return connection.getresponse().read() == b'{"status": "ok"}'
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _told(name: str, wrong: str) -> int:
    print(f"{name:<{WIDTH}} {f'FAILED: {wrong}' if wrong else 'ok'}")
    return bool(wrong)
