"""Serves the application on a socket until it is told to stop, and then drains.

The steps of a drain, and the seconds that each may take, are described in `gptdock/http/__init__.py`.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from functools import partial

from aiohttp import web

from gptdock.errors import SettingsError
from gptdock.http import ops
from gptdock.http.app_keys import SERVICES
from gptdock.http.connections import Connection
from gptdock.http.listener import BACKLOG, Listener
from gptdock.settings import Settings

log = logging.getLogger(__name__)

CUT_SECONDS = 3.0  # for callers to read that their stream is cut
CANCEL_SECONDS = 1.0  # for handlers to end that were cancelled then
CLEANUP_SECONDS = 1.0  # for what a drain could not end; aiohttp waits for it twice
SETTLE_SECONDS = 10.0  # several attempts of a settle, which are at most 2 s apart


def listen(settings: Settings) -> socket.socket:
    """A listening socket on HOST and PORT; `::` includes IPv4. Raises SettingsError if the address cannot be used."""
    address, both = (settings.host, settings.port), settings.host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(address, family=_family(settings.host), backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as exc:
        raise SettingsError(f"PORT: {settings.host}:{settings.port} cannot be listened on: {exc.strerror}") from exc


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set. A second signal changes nothing."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def serve(
    app: web.Application, sock: socket.socket, stop: asyncio.Event, ready: Callable[[], None] = lambda: None
) -> bool:
    """Serve until `stop` is set, then drain; return whether everything was settled. `ready` is called once it serves.

    Raises SettingsError if a table is missing or OPS_PORT cannot be listened on.
    """
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=CLEANUP_SECONDS / 2)
    async with ops.listening(app):  # closed last: /ready says that the process drains
        await runner.setup()
        try:
            listener = Listener(sock, _accepting(runner, app))
            ready()
            log.info("serving", extra={"process_id": app[SERVICES].ledger.process})
            await stop.wait()
            app[SERVICES].connections.draining = True
            await listener.close()
            return await _drain(app)
        finally:
            await runner.cleanup()


def _accepting(runner: web.AppRunner, app: web.Application) -> Callable[[], web.RequestHandler]:
    assert runner.server is not None
    return partial(
        Connection,
        app[SERVICES].connections,
        runner.server,
        loop=asyncio.get_running_loop(),
        access_log=None,
        keepalive_timeout=app[SERVICES].settings.keepalive_timeout,
        lingering_time=1,
        auto_decompress=False,
    )


async def _drain(app: web.Application) -> bool:
    log.info("draining")
    closing = asyncio.create_task(app[SERVICES].connections.drain())
    steps = (
        (app[SERVICES].settings.drain_seconds, app[SERVICES].gate.cut),
        (CUT_SECONDS, app[SERVICES].gate.cancel),
        (CANCEL_SECONDS, closing.cancel),
    )
    for seconds, then in steps:
        await asyncio.wait([closing], timeout=seconds)
        if closing.done():
            break
        then()
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            await app[SERVICES].ledger.settled()
    except TimeoutError:
        log.error("stopped with unsettled holds; they will be swept")
        return False
    log.info("drained")
    return True
