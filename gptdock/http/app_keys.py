"""The keys under which the application and each request carry what handlers need."""

from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Services:
    """What the handlers of one application share: under one key, since aiohttp takes 2 us to look one up.

    Those without a value are opened at its start.
    """

    settings: Settings
    connections: Connections
    gate: Gate
    room: Room
    models: tuple[str, ...]  # that answer: OPENAI_MODEL, then those of OPENAI_MODELS, without duplicates
    open_paths: frozenset[str] = frozenset()  # those of the page, which need no key
    here: dict[str, Any] = field(default_factory=lambda: {"dev": False})  # what the page finds in here.json
    shows_causes: bool = False  # only in `gptdock dev`
    has_started: bool = False
    tokens: Tokens = field(init=False)
    params_tokens: int = field(init=False)  # tokens that OPENAI_PARAMS adds to each prompt of /v1/ask
    store: Store = field(init=False)
    ledger: Ledger = field(init=False)
    clients: Clients = field(init=False)
    upstream: Upstream = field(init=False)


SERVICES = web.AppKey("services", Services)

IS_FIRST = web.RequestKey("is_first", bool)  # the first request of its connection
REQUEST_ID = web.RequestKey("request_id", str)
TRACEPARENT = web.RequestKey("traceparent", str)  # of the caller's trace; empty if it named none
OPERATOR = web.RequestKey("operator", str)  # on admin routes: names the key, without showing it
