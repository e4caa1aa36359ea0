"""The keys under which the application and each request carry what handlers need."""

from typing import Any

from aiohttp import web

from gptdock.admin.clients import Clients
from gptdock.http.connections import Connections
from gptdock.http.gate import Gate
from gptdock.http.room import Room
from gptdock.ledger.holds import Ledger
from gptdock.ledger.store import Store
from gptdock.prompt.tokens import Tokens
from gptdock.settings import Settings
from gptdock.upstream.client import Upstream

SETTINGS = web.AppKey("settings", Settings)
CONNECTIONS = web.AppKey("connections", Connections)
GATE = web.AppKey("gate", Gate)
ROOM = web.AppKey("room", Room)
TOKENS = web.AppKey("tokens", Tokens)
PARAMS_TOKENS = web.AppKey("params_tokens", int)  # tokens that OPENAI_PARAMS adds to each prompt of /v1/ask
CLIENTS = web.AppKey("clients", Clients)
STORE = web.AppKey("store", Store)
LEDGER = web.AppKey("ledger", Ledger)
UPSTREAM = web.AppKey("upstream", Upstream)
OPEN_PATHS = web.AppKey("open_paths", frozenset[str])  # those of the page, which need no key
HERE = web.AppKey("here", dict[str, Any])  # only in `gptdock dev`: what the page finds in here.json
SHOWS_CAUSES = web.AppKey("shows_causes", bool)  # only in `gptdock dev`

IS_FIRST = web.RequestKey("is_first", bool)  # the first request of its connection
REQUEST_ID = web.RequestKey("request_id", str)
TRACEPARENT = web.RequestKey("traceparent", str)  # of the caller's trace; empty if it named none
OPERATOR = web.RequestKey("operator", str)  # on admin routes: names the key, without showing it
