"""The route `/v1/admin/status`: the state of the process that answers, for the page and for operators."""

from importlib.metadata import version

from aiohttp import web

from gptdock.errors import LedgerUnavailable
from gptdock.http.app_keys import CONNECTIONS, GATE, SETTINGS, STORE, UPSTREAM


async def status(request: web.Request) -> web.Response:
    """Whether this process serves, whether DynamoDB answers, how the upstream answered last, and how many are open."""
    app = request.app
    return web.json_response(
        {
            "version": version("gptdock"),
            "process": "draining" if app[CONNECTIONS].draining else "serving",
            "dynamodb": await _dynamodb(app),
            "upstream": {"last": app[UPSTREAM].last},
            "open_answers": app[GATE].open,
            "max_streams": app[SETTINGS].max_streams,
        }
    )


async def _dynamodb(app: web.Application) -> str:
    try:
        await app[STORE].ping()
    except LedgerUnavailable as exc:
        return exc.fault or "unavailable"
    return "ready"
