"""Notes the path of a request for which there is no route: whoever tries `gptdock dev` has often mistyped a base URL.

Elsewhere no path is logged: it is text of the caller's.
"""

from aiohttp import web
from aiohttp.typedefs import Handler

from gptdock.telemetry import request_line


@web.middleware
async def note_unknown(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The line of a 404 or 405 has the path."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        request_line.current().fields["path"] = request.path
        raise
