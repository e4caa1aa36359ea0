"""What every request passes through: its id and log line, the form of errors, and what is checked before its body."""

import hmac
import json
import logging
import re
import secrets
from hashlib import sha256

from aiohttp import web
from aiohttp.typedefs import Handler

from gptdock import errors
from gptdock.errors import APIError, Draining, Forbidden
from gptdock.http import openapi, unserved
from gptdock.http.app_keys import IS_FIRST, OPERATOR, REQUEST_ID, SERVICES, TRACEPARENT
from gptdock.http.payer import BASE
from gptdock.http.told import let_go, told
from gptdock.ledger.book import Outcome
from gptdock.settings import Settings
from gptdock.telemetry import logs, request_line
from gptdock.upstream import trace

log = logging.getLogger(__name__)

ADMIN = "/v1/admin/"
OPEN = frozenset({("GET", "/v1/health"), ("HEAD", "/v1/health")})
OURS = frozenset({"/v1/ask", "/v1/client/info", "/v1/openapi.json"})
_NAME = re.compile(r"[\w.\[\]-]{1,64}", re.ASCII)  # what may stand in a log
_VISIBLE_ASCII = re.compile(r"[!-~]{1,128}")
_FROM_AIOHTTP: dict[int, type[APIError]] = {
    400: errors.InvalidRequest,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.PayloadTooLarge,
}


@web.middleware
async def request_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id and its line in the log, and note on its connection when it begins and is answered."""
    connections, connection = request.app[SERVICES].connections, request.protocol
    request[IS_FIRST] = connections.asked(connection)
    request[REQUEST_ID] = request_id = _request_id(request)
    request[TRACEPARENT] = traceparent = trace.traceparent(request.headers.getall("traceparent", ()))
    logs.request_id.set(request_id)
    level = logging.DEBUG if _is_open(request) else logging.INFO
    line = request_line.begin(request.method, _route(request), level)
    if traceparent:
        line.fields["traceparent"] = traceparent
    outcome: Outcome = "caller_left"
    status: int | None = None
    try:
        response = await handler(request)
        outcome, status = "complete", response.status
        return response
    finally:
        connections.answered(connection)
        line.answered(outcome, status)


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into an error in the form of the contract."""
    try:
        return await handler(request)
    except APIError as exc:
        return _to_response(exc, request)
    except web.HTTPException as exc:
        let_go(exc)
        if exc.status not in _FROM_AIOHTTP:
            raise
        return _to_response(_from_aiohttp(exc, request), request, exc.headers.get("Allow"))
    except Exception:
        log.exception("request failed")
        return _to_response(errors.InternalError(), request)


@web.middleware
async def check_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Before the body is read, require the key, refuse what comes too late, and look at the query.

    While the process drains, every request comes too late but the first of a connection that it had accepted before.
    """
    if not _is_open(request):
        services = request.app[SERVICES]
        _require_key(request, services.settings)
        if services.connections.draining and not request[IS_FIRST]:
            raise Draining
    if request.query_string:
        _check_query(request)
    return await handler(request)


def _require_key(request: web.Request, settings: Settings) -> None:
    """On every path, known or not, require a key: below ADMIN one of ADMIN_KEY, otherwise one of PRE_SHARED_KEY.

    Neither is valid for the other.
    """
    is_admin = bool(settings.admin_key) and request.path.startswith(ADMIN)
    given = _given_key(request)
    if not _is_one_of(given, settings.admin_key if is_admin else settings.pre_shared_key):
        raise Forbidden
    if is_admin:
        request[OPERATOR] = f"key:{sha256(given).hexdigest()[:12]}"


def _check_query(request: web.Request) -> None:
    """Refuse a parameter of the query that a route of our own does not know, which may be misspelt, or has twice.

    OpenAI's routes ignore it, as OpenAI does, and so does health.
    """
    if _is_ours(route := _route(request)):
        for name in request.query.keys() - openapi.queries()[route]:
            raise errors.InvalidRequest("The query has a parameter that this route does not know.", param=_shown(name))
        if len(request.query) > len(names := set(request.query)):
            twice = min(name for name in names if len(request.query.getall(name)) > 1)
            raise errors.InvalidRequest("The query has a parameter more than once.", param=twice)


async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer its X-Request-Id, and `Connection: close` where it must be the last of its connection."""
    # aiohttp answers some requests before the middlewares, for example `Expect: junk`.
    response.headers["X-Request-Id"] = request.get(REQUEST_ID) or _request_id(request)
    if request.app[SERVICES].connections.is_last(request):
        response.force_close()
        response.headers["Connection"] = "close"  # aiohttp has written this header before it calls on_prepare


def _is_open(request: web.Request) -> bool:
    if request.method not in ("GET", "HEAD"):
        return False
    path = request.rel_url.path_safe  # like aiohttp's router: in `path`, %2F would be a slash
    return (request.method, path) in OPEN or (request.method == "GET" and path in request.app[SERVICES].open_paths)


def _is_ours(route: str) -> bool:
    return route in OURS or (route.startswith(ADMIN) and route in openapi.queries())


def _shown(name: str) -> str:
    return name if _NAME.fullmatch(name) else "query"


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical.removeprefix(BASE) if resource else "-"


def _request_id(request: web.Request) -> str:
    own_id = request.headers.get("X-Request-Id", "")
    return own_id if _VISIBLE_ASCII.fullmatch(own_id) else secrets.token_hex(16)


def _given_key(request: web.Request) -> bytes:
    values = request.headers.getall("Authorization", [])
    scheme, _, given = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return given.encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""


def _is_one_of(given: bytes, keys: tuple[str, ...]) -> bool:
    # Every key is compared, each in constant time, so that the time taken tells nothing about the keys.
    matches = [hmac.compare_digest(given, key.encode()) for key in keys]
    return any(matches)


def _from_aiohttp(exc: web.HTTPException, request: web.Request) -> APIError:
    messages = {
        404: unserved.explain(request.path),
        405: f"This method is not allowed: the route takes {exc.headers.get('Allow')}.",
        413: f"The request body has more than {request.app[SERVICES].settings.max_body_bytes} bytes (MAX_BODY_BYTES).",
    }
    return _FROM_AIOHTTP[exc.status](messages.get(exc.status, ""))


def _to_response(error: APIError, request: web.Request, allow: str | None = None) -> web.Response:
    fields = request_line.current().fields
    fields["outcome"] = error.code
    if error.param:
        fields["param"] = error.param
    headers = {"Allow": allow} if allow else {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.quota and not isinstance(error, errors.RateLimited):  # a client would wait for the end of the period
        headers |= error.quota.headers(request.app[SERVICES].store.clock())
    if not error.should_retry:
        headers["x-should-retry"] = "false"  # the header that OpenAI's own clients read
    body = json.dumps(told(request, error))
    let_go(error)
    return web.Response(status=error.status, text=body, content_type="application/json", headers=headers)
