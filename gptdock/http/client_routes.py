"""The routes of `/v1` for backends: a question, the quota of a client, health and the contract."""

import time
from datetime import UTC, datetime
from functools import lru_cache

from aiohttp import web

from gptdock import accounts
from gptdock.accounts import Account
from gptdock.admin import clients
from gptdock.http import openapi
from gptdock.http.app_keys import REQUEST_ID, SERVICES, Services
from gptdock.http.bodies import read_body
from gptdock.http.relay import Completion, relay
from gptdock.ledger.holds import Claim
from gptdock.prompt import ask
from gptdock.prompt.ask import ChatRequest, Prompt
from gptdock.prompt.tokens import Tokens
from gptdock.routes import chat_answers
from gptdock.telemetry import request_line


async def health(request: web.Request) -> web.Response:
    """Answer while the process runs; needs neither a key nor DynamoDB."""
    return web.json_response({"status": "ok"})


async def contract(request: web.Request) -> web.Response:
    """The OpenAPI document of all routes."""
    return web.json_response(text=openapi.text())


async def client_info(request: web.Request) -> web.Response:
    """The quota of one client in the running period, where `max_quota = quota_left + quota_held + quota_used`."""
    ledger, account = request.app[SERVICES].ledger, read_account(request)
    await ledger.hear()
    period = ledger.period()
    book = await ledger.read(account, period)
    return web.json_response(account._asdict() | clients.book_to_json(period, book))


async def ask_question(request: web.Request) -> web.StreamResponse:
    """Answer one question, whole or as a stream."""
    services = request.app[SERVICES]
    body = await read_body(request, services.settings)
    with services.gate.passed():
        completion = await _completion(request, services, body)
        del body  # see Completion.take_body
        return await relay(request, services, completion)


async def _assemble(services: Services, asked: ChatRequest, size: int) -> Prompt:
    settings, tokens = services.settings, services.tokens
    system = _system_prompt(settings.system_prompt, settings.openai_model, int(time.time()) // 60)
    return await tokens.run(size + len(system), _prompt, tokens, asked, system, settings.max_prompt_tokens)


@lru_cache(maxsize=2)
def _system_prompt(template: str, model: str, minute: int) -> str:
    time = datetime.fromtimestamp(minute * 60, UTC)
    return ask.fill_system_prompt(template, model=model, today=f"{time:%Y-%m-%d}", now=f"{time:%Y-%m-%d %H:%M UTC}")


def _prompt(tokens: Tokens, asked: ChatRequest, system: str, most: int) -> Prompt:
    return ask.assemble(asked, head=_head(tokens, system), max_prompt_tokens=most, count=tokens.count)


@lru_cache(maxsize=2)
def _head(tokens: Tokens, system: str) -> Prompt:
    return ask.head(system, tokens.count)


async def _completion(request: web.Request, services: Services, body: bytes) -> Completion:
    settings = services.settings
    asked = await services.tokens.run(len(body), ChatRequest.from_json, body)
    fields = request_line.current().fields
    fields.update(asked.account.named())
    fields["user"], fields["model"] = asked.user_id, settings.openai_model
    prompt = await _assemble(services, asked, len(body))
    claim = Claim(
        account=asked.account,
        user=asked.user_id,
        model=settings.openai_model,
        request_id=request[REQUEST_ID],
        prompt_tokens=prompt.tokens + services.params_tokens,
        completion_tokens=settings.max_completion_tokens,
    )

    def upstream_body(completion_tokens: int) -> bytes:
        return ask.upstream_body(
            prompt,
            model=settings.openai_model,
            params=settings.openai_params,
            stream=asked.stream,
            max_completion_tokens=completion_tokens,
        )

    return Completion(chat_answers.FORMAT, claim, upstream_body, asked.stream)


def read_account(request: web.Request) -> Account:
    """The client and product that the query names, each once. Raises InvalidRequest."""
    whom = {"client_id": "the client", "product_id": "the product"}
    account = Account(*(accounts.identity_given_once(request.query.getall(n, ()), n, who) for n, who in whom.items()))
    request_line.current().fields.update(account.named())
    return account
