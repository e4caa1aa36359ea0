"""`gptdock dev`: GPTDock and all it needs in one process, to try it or to develop a backend against it.

DynamoDB is moto's, in memory, unless AWS_ENDPOINT_URL_DYNAMODB is set; OpenAI is simulated unless OPEN_AI_KEY is set.
The environment overrides the defaults here.
"""

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack

from aiohttp import web

from gptdock.dev import hosts, paths
from gptdock.dev.dynamodb import serve_dynamodb
from gptdock.dev.openai import serve_openai
from gptdock.dev.script import Script
from gptdock.http import app, server
from gptdock.ledger.store import Store
from gptdock.prompt.tokens import Tokens
from gptdock.settings import Settings
from gptdock.telemetry import logs

DEFAULTS = {
    "HOST": "127.0.0.1",
    "PRE_SHARED_KEY": "dev-key",
    "ADMIN_KEY": "dev-admin-key",
    "LOG_FORMAT": "text",
    "DRAIN_SECONDS": "1",
}
HUMAN_PACE = Script(first_event_seconds=0.3, token_seconds=0.03)
BEFORE_THE_KEY = 2  # behind the middlewares that log a request and form its errors
NOBODYS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


async def run(environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or Ctrl-C; 0 if everything was settled, otherwise 1. Raises SettingsError."""
    stop = server.stop_on_signals()
    async with AsyncExitStack() as stack:
        given = DEFAULTS | dict(environ)
        in_memory = not given.get("AWS_ENDPOINT_URL_DYNAMODB")
        if in_memory:
            given |= NOBODYS | {"AWS_ENDPOINT_URL_DYNAMODB": await stack.enter_async_context(serve_dynamodb())}
        simulated = not given.get("OPEN_AI_KEY")
        if simulated:
            pieces = Tokens(given.get("OPENAI_MODEL", "")).pieces
            openai = await stack.enter_async_context(serve_openai(pieces=pieces, script=HUMAN_PACE))
            given |= {"OPEN_AI_KEY": "simulated", "OPENAI_BASE_URL": openai.url}
        settings = Settings.from_env(given)
        logs.configure(settings.log_level, settings.log_format)
        async with Store.connected(settings) as store:
            await store.create_tables()
        sock = server.listen(settings)
        welcome = _welcome(settings, sock.getsockname()[1], simulated=simulated, in_memory=in_memory)
        settled = await server.serve(
            for_trial(app.create(settings), settings), sock, stop, lambda: print(welcome, flush=True)
        )
        return 0 if settled else 1


def for_trial(application: web.Application, settings: Settings) -> web.Application:
    """The same application, which then answers only requests of this machine, and logs paths that are not served."""
    application.middlewares[BEFORE_THE_KEY:BEFORE_THE_KEY] = [hosts.only_local(settings.host), paths.note_unknown]
    return application


def _welcome(settings: Settings, port: int, *, simulated: bool, in_memory: bool) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    url, key = f"http://{host}:{port}", settings.pre_shared_key[0]
    upstream = "a simulated OpenAI, since OPEN_AI_KEY is empty" if simulated else settings.openai_base_url
    where = f"in the DynamoDB at {settings.aws_endpoint_url_dynamodb}."
    quotas = f"Quotas are kept {'in memory and lost when it stops.' if in_memory else where}"
    headers = f"-H 'Authorization: Bearer {key}'"
    asks = f"curl -sN {url}/v1/ask {headers} -H 'Content-Type: application/json' -d"
    question = {"question": "Who are you?", "user_id": "7", "client_id": "1234", "product_id": "demo"}
    return f"""
GPTDock serves {url} with the key {key} (for /v1/admin: {settings.admin_key[0]}), in front of
{upstream}.
{quotas}
OpenAI's clients take the base URL {url}/v1, the API key {key}, and the headers X-Client-Id and X-Product-Id.
Tools that send no headers take {url}/clients/1234/demo/v1, which names client and product.

Ask a question, whole and as a stream, and see what is left:

{asks} '{json.dumps(question | {"stream": False})}'
{asks} '{json.dumps(question | {"stream": True})}'
curl -s '{url}/v1/client/info?client_id=1234&product_id=demo' {headers}
"""
