"""The application: its route table, and the resources that it opens at its start and closes at its end."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing

from aiohttp import web

from gptdock.admin import in_force
from gptdock.admin.clients import Clients
from gptdock.errors import LedgerUnavailable
from gptdock.http import admin_routes, client_routes, middlewares, openai_routes, page, payer
from gptdock.http.app_keys import SERVICES, Services
from gptdock.http.connections import Connections
from gptdock.http.gate import Gate
from gptdock.http.room import Room
from gptdock.http.status import status
from gptdock.ledger.holds import Ledger
from gptdock.ledger.store import Store
from gptdock.prompt.tokens import Tokens
from gptdock.routes import chat
from gptdock.settings import Settings
from gptdock.telemetry import metrics, watchdog
from gptdock.upstream import client

log = logging.getLogger(__name__)

OPENAI_ROUTES = [
    web.post("/v1/chat/completions", openai_routes.chat_completions),
    web.post("/v1/responses", openai_routes.responses),
    web.post("/v1/embeddings", openai_routes.embed),
    web.get("/v1/models", openai_routes.list_models, allow_head=False),
    web.get("/v1/models/{model}", openai_routes.show_model, allow_head=False),
]
# The same routes for tools that take only a base URL and a key: its path names who pays.
PAYER_ROUTES = [
    web.RouteDef(each.method, payer.PATTERN + each.path, each.handler, each.kwargs) for each in OPENAI_ROUTES
]
ROUTES = [
    web.get("/v1/health", client_routes.health, allow_head=False),
    web.head("/v1/health", client_routes.health),
    web.get("/v1/openapi.json", client_routes.contract, allow_head=False),
    web.get("/v1/client/info", client_routes.client_info, allow_head=False),
    web.post("/v1/ask", client_routes.ask_question),
    *OPENAI_ROUTES,
]
ADMIN_ROUTES = [
    web.get("/v1/admin/status", status, allow_head=False),
    web.get("/v1/admin/clients", admin_routes.list_clients, allow_head=False),
    web.get("/v1/admin/clients/near", admin_routes.near, allow_head=False),
    web.get("/v1/admin/usage", admin_routes.report_on_all, allow_head=False),
    web.get("/v1/admin/client", admin_routes.look, allow_head=False),
    web.put("/v1/admin/client/quota", admin_routes.set_quota),
    web.delete("/v1/admin/client/quota", admin_routes.set_default),
    web.post("/v1/admin/client/credit", admin_routes.credit),
    web.post("/v1/admin/client/reset", admin_routes.reset),
    web.get("/v1/admin/client/usage", admin_routes.report, allow_head=False),
    web.get("/v1/admin/client/receipts", admin_routes.receipts, allow_head=False),
    web.post("/v1/admin/forget", admin_routes.forget),
]


def create(settings: Settings) -> web.Application:
    """The application. Its start connects to DynamoDB and the upstream, and looks for the tables.

    The start raises SettingsError if a table is missing, but not if DynamoDB cannot be reached: supervisor would soon
    stop restarting the process. Until DynamoDB answers, `/ready` and the requests that need it answer 503.
    """
    app = web.Application(
        middlewares=[
            middlewares.request_middleware,
            middlewares.error_middleware,
            middlewares.check_middleware,
        ],
        client_max_size=settings.max_body_bytes,
    )
    connections = Connections(settings.head_timeout, settings.write_timeout)
    gate = Gate(settings.max_streams, settings.request_timeout)
    models = tuple(dict.fromkeys((settings.openai_model, *settings.openai_models)))
    app[SERVICES] = Services(settings, connections, gate, Room(), models)
    if settings.dashboard == "on":
        page.add_to(app)
    app.add_routes([*ROUTES, *PAYER_ROUTES, *(ADMIN_ROUTES if settings.admin_key else ())])
    app.on_response_prepare.append(middlewares.on_prepare)
    app.cleanup_ctx.append(_resources)
    return app


async def _resources(app: web.Application) -> AsyncIterator[None]:
    services = app[SERVICES]
    settings = services.settings
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(watchdog.watching())
        services.tokens = stack.enter_context(closing(_tokens(settings)))
        services.params_tokens = chat.count_besides(settings.openai_params, services.tokens.count)
        store = await stack.enter_async_context(Store.connected(settings))
        try:
            await store.check()
        except LedgerUnavailable as exc:
            log.warning("DynamoDB cannot be used; until it can, requests get 503", extra={"fault": exc.fault})
        await stack.enter_async_context(in_force.announced(store, settings.quota_period))
        services.store = store
        services.ledger = await stack.enter_async_context(Ledger(store, settings).running())
        services.clients = Clients(store, settings, services.ledger.process)
        metrics.CLOCK_SKEW.set_function(lambda: store.clock.skew)
        metrics.STREAMS_OPEN.set_function(lambda: services.gate.open)
        metrics.HOLDS_OPEN.set_function(lambda: services.ledger.open)
        metrics.SETTLES_PENDING.set_function(lambda: services.ledger.unsettled)
        metrics.RECEIPTS_PENDING.set_function(lambda: services.ledger.receipts_waiting)
        services.upstream = await stack.enter_async_context(client.connect(settings))
        services.has_started = True
        yield


def _tokens(settings: Settings) -> Tokens:
    return Tokens(settings.openai_model, *settings.openai_models, *settings.openai_embedding_models)
