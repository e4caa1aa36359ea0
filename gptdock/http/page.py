"""The page at `/`: static files that anyone may load. Its data are those of the routes, behind their keys."""

import json
from hashlib import sha256
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from gptdock.http.app_keys import SERVICES

FOLDER = Path(__file__).parents[1] / "data" / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Cache-Control": "no-cache",  # kept, and asked for by its ETag: an upgrade is seen at once
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add_to(app: web.Application) -> None:
    """Serve the page, and let it be loaded without a key."""
    paths = {f"/page/{path.name}": path for path in FOLDER.iterdir() if path.suffix in TYPES}
    routes = [("/", _file(FOLDER / "index.html")), *((path, _file(file)) for path, file in paths.items())]
    routes.append(("/page/here.json", _here))
    app[SERVICES].open_paths = frozenset(path for path, _ in routes)
    app.add_routes([web.get(path, handler, allow_head=False) for path, handler in routes])


def _file(path: Path) -> Handler:
    body = path.read_bytes()
    headers = HEADERS | {"Content-Type": TYPES[path.suffix], "ETag": f'"{sha256(body).hexdigest()[:16]}"'}

    async def send(request: web.Request) -> web.Response:
        if headers["ETag"] in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
        return web.Response(body=body, headers=headers)

    return send


async def _here(request: web.Request) -> web.Response:
    """What the page finds here: in `gptdock dev` its well-known keys and what can be played, otherwise nothing."""
    return web.json_response(text=json.dumps(request.app[SERVICES].here), headers=HEADERS)
