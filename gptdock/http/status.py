"""The route `/v1/admin/status`: the state of the process that answers, for the page and for operators."""

from importlib.metadata import version

from aiohttp import web

from gptdock.errors import LedgerUnavailable
from gptdock.http.app_keys import SERVICES


async def status(request: web.Request) -> web.Response:
    """Whether this process serves, whether DynamoDB answers, how the upstream answered last, and how many are open."""
    app = request.app
    return web.json_response(
        {
            "version": version("gptdock"),
            "process": "draining" if app[SERVICES].connections.draining else "serving",
            "dynamodb": await _dynamodb(app),
            "upstream": {"last": app[SERVICES].upstream.last},
            "open_answers": app[SERVICES].gate.open,
            "max_streams": app[SERVICES].settings.max_streams,
        }
    )


async def _dynamodb(app: web.Application) -> str:
    try:
        await app[SERVICES].store.ping()
    except LedgerUnavailable as exc:
        return exc.fault or "unavailable"
    return "ready"
