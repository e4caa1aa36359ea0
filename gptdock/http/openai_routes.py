"""The routes for any OpenAI client: `/v1/chat/completions`, `/v1/responses`, `/v1/embeddings`, `/v1/models`."""

from collections.abc import Callable, Collection
from functools import partial

from aiohttp import web

from gptdock.accounts import Account
from gptdock.errors import InvalidRequest
from gptdock.http.app_keys import REQUEST_ID, SERVICES, Services
from gptdock.http.bodies import read_body
from gptdock.http.payer import names_payer, of_header, payer
from gptdock.http.relay import Completion, relay
from gptdock.ledger.holds import Claim
from gptdock.routes import chat_answers, embeddings, requests, responses_answers
from gptdock.routes.chat import CompletionRequest
from gptdock.routes.embeddings import EmbeddingRequest
from gptdock.routes.requests import Request
from gptdock.routes.responses import ResponseRequest
from gptdock.telemetry import request_line
from gptdock.upstream.format import Format
from gptdock.upstream.sse import MOST_EVENT_BYTES

Read = Callable[[bytes, Collection[str], Collection[str]], Request]
NOBODY = "-"  # the user on a receipt if the request names none


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """The upstream's answer to the caller's own request, charged to the client that headers or base URL name."""
    return await _relay(request, CompletionRequest.from_json, chat_answers.FORMAT, request.app[SERVICES].models)


async def responses(request: web.Request) -> web.StreamResponse:
    """The same in the format of the Responses API, without its state."""
    return await _relay(request, ResponseRequest.from_json, responses_answers.FORMAT, request.app[SERVICES].models)


async def embed(request: web.Request) -> web.StreamResponse:
    """The upstream's embeddings of the caller's texts, charged as an answer is."""
    served = request.app[SERVICES].settings.openai_embedding_models
    return await _relay(request, EmbeddingRequest.from_json, embeddings.FORMAT, served)


async def list_models(request: web.Request) -> web.Response:
    """The models that these routes accept."""
    _note_payer(request)
    return web.json_response({"object": "list", "data": [_model(name) for name in _all_models(request)]})


def _all_models(request: web.Request) -> tuple[str, ...]:
    services = request.app[SERVICES]
    return tuple(dict.fromkeys((*services.models, *services.settings.openai_embedding_models)))


async def show_model(request: web.Request) -> web.Response:
    """One of these models. Raises ModelNotFound."""
    _note_payer(request)
    return web.json_response(_model(requests.model(request.match_info["model"], _all_models(request))))


def _note_payer(request: web.Request) -> None:
    """Models cost nothing, so the headers may be absent; a base URL that names a client must be right all the same."""
    if names_payer(request):
        payer(request)


async def _relay(request: web.Request, read: Read, form: Format, served: Collection[str]) -> web.StreamResponse:
    """What a route of OpenAI's does: its room reads the request, and knows the form of the answer."""
    services = request.app[SERVICES]
    account = payer(request)
    body = await read_body(request, services.settings)
    with services.gate.passed():
        passed = services.settings.openai_pass_fields
        asked = await services.tokens.run(len(body), read, body, served, passed)
        claim = await _claim(request, services, account, asked, len(body))
        completion = Completion(form, claim, asked.upstream_body, asked.stream, asked.show_usage, callers_words=True)
        size = _size(asked, claim, form)
        del body, asked  # see Completion.take_body
        if not size:
            return await relay(request, services, completion)
        with services.room.of(size):
            return await relay(request, services, completion)


def _size(asked: Request, claim: Claim, form: Format) -> int:
    """The bytes that must be kept of the answer, where they may be many. Raises InvalidRequest if they are too many."""
    size, tokens = asked.answer_bytes(claim.completion_tokens), claim.completion_tokens
    most = MOST_EVENT_BYTES if asked.stream else form.most_bytes
    if size > most:
        fits = (
            f"with so many top_logprobs an answer may have {tokens * most // size} tokens at most; it may have {tokens}"
        )
        raise InvalidRequest(f"The answer would be too large: {fits}.", param="top_logprobs")
    return size


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "gptdock"}


async def _claim(request: web.Request, services: Services, account: Account, asked: Request, size: int) -> Claim:
    settings, tokens = services.settings, services.tokens
    count, most = tokens.counter(asked.model), settings.max_completion_tokens
    limits = {"max_prompt_tokens": settings.max_prompt_tokens, "max_completion_tokens": most}
    pricing = partial(requests.price, asked, **limits, count=count)
    is_named = any(request.headers.getall("X-User-Id", ()))
    named = of_header(request, "X-User-Id", "the user on the receipt") if is_named else NOBODY
    user = asked.user_id or named
    fields = request_line.current().fields
    fields["user"], fields["model"] = user, asked.model
    return Claim(
        account=account,
        user=user,
        model=asked.model,
        request_id=request[REQUEST_ID],
        prompt_tokens=await tokens.run(size, pricing),
        operation=asked.operation,
        completion_tokens=most if asked.most_tokens is None else min(asked.most_tokens, most),
    )
