"""The operations port: metrics and readiness of one process. It needs no key; by default it listens on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gptdock.errors import LedgerUnavailable, SettingsError
from gptdock.http.app_keys import SERVICES
from gptdock.telemetry import metrics


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[None]:
    """Serve OPS_PORT inside the `async with`, if it is set. Raises SettingsError if the port cannot be listened on."""
    settings = app[SERVICES].settings
    if settings.ops_port is None:
        yield
        return
    runner = web.AppRunner(_application(app), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await _listen(web.TCPSite(runner, settings.ops_host, settings.ops_port))
        yield
    finally:
        await runner.cleanup()


async def _listen(site: web.TCPSite) -> None:
    try:
        await site.start()
    except OSError as exc:
        raise SettingsError(f"OPS_PORT: {site.name} cannot be listened on: {exc.strerror}") from exc


def _application(app: web.Application) -> web.Application:
    async def show_metrics(request: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def ready(request: web.Request) -> web.Response:
        status = await _status(app)
        return web.json_response({"status": status}, status=200 if status == "ready" else 503)

    operations = web.Application()
    operations.add_routes([web.get("/metrics", show_metrics), web.get("/ready", ready)])
    return operations


async def _status(app: web.Application) -> str:
    if app[SERVICES].connections.draining:
        return "draining"
    if not app[SERVICES].has_started:
        return "starting"
    try:
        await app[SERVICES].store.ping()
    except LedgerUnavailable:
        return "dynamodb_unavailable"
    return "ready"
