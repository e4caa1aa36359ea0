"""Refuses requests that a web page sent by DNS rebinding: `gptdock dev` has keys that everybody knows.

A page's own domain may suddenly point to 127.0.0.1; then its requests come here, and the browser lets it read the
answers. Their Host header still has the domain. An address cannot be rebound.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gptdock.errors import Forbidden


def is_local(host: str, own: str) -> bool:
    """Whether a Host header is an address, localhost or `own`, the name to listen on; also without a header."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # not even the form of a host
        return False
    return name in ("", "localhost", own.lower()) or name.endswith(".localhost") or _is_address(name)


def only_local(own: str) -> Middleware:
    """A middleware that lets only such requests pass. It raises Forbidden."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_local(request.headers.get("Host", ""), own):
            raise Forbidden("gptdock dev answers only at an address, at localhost or at HOST.")
        return await handler(request)

    return check


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False
