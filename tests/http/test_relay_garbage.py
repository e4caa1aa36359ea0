"""However a request ends, what it took is freed then: nothing of ours waits for the garbage collector.

That comes to an object of a long stream after a million others were made, and until then the stream's text and the
request's body would stay. Half a million objects wait for it with 5,000 streams, and it takes 0.3 s then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.http.app_keys import SERVICES
from gptdock.http.told import let_go
from tests.harness.garbage import TIMES, garbage
from tests.harness.hostile import AUTHORIZED, connect, question, request
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.proxy import Proxy
from tests.harness.service import Service

pytestmark = pytest.mark.usefixtures("one_flow_on_each_loop")
ON_EACH_LOOP = True
ACCOUNT = {"X-Client-Id": "c1", "X-Product-Id": "p1"}
QUESTION = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Why?"}]}
QUICK = {"first_event_timeout": 0.1, "event_timeout": 0.1}

STREAMS = {
    "whole": Script(),
    "without usage": Script(usage=False),
    "refused": Script(status=400),
    "failing": Script(status=500),
    "an error event": Script(error_at=3),
    "closed": Script(cut="close", cut_at=3),
    "reset": Script(cut="rst", cut_at=3),
    "broken in an event": Script(cut="mid_chunk", cut_at=3),
    "without its end": Script(cut="clean_no_done"),
    "closed before its head": Script(cut="before_head"),
    "silent": Script(stall_at=3),
    "silent after its head": Script(stall_at=0),
    "silent before its head": Script(stall_at=BEFORE_HEAD),
    "far too long": Script(overrun=True, tokens=3000),
    "no stream": Script(raw=b"<html>"),
    "not packed as it says": Script(headers={"Content-Encoding": "gzip"}),
}
ANSWERS = {
    "whole": Script(),
    "without usage": Script(usage=False),
    "refused": Script(status=400),
    "failing": Script(status=500),
    "reset": Script(cut="rst"),
    "closed before its head": Script(cut="before_head"),
    "no JSON": Script(raw=b"<html>"),
    "not packed as it says": Script(headers={"Content-Encoding": "gzip"}),
}
CASES = [
    *(pytest.param(script, True, id=f"a stream, {name}") for name, script in STREAMS.items()),
    *(pytest.param(script, False, id=f"an answer, {name}") for name, script in ANSWERS.items()),
]


@pytest.mark.parametrize(("script", "stream"), CASES)
async def test_nothing_of_a_request_waits_for_the_garbage_collector(serve, script: Script, stream: bool):
    async with serve(**QUICK) as service:
        service.openai.script = script
        async with leaving_nothing(service):
            for _ in range(TIMES):
                await _ask(service, max_tokens=1000, stream=stream)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/chat/completions", QUESTION),
        ("POST", "/v1/chat/completions", QUESTION | {"stream": True}),
        ("POST", "/v1/responses", {"model": "gpt-4o-mini", "input": "Why?"}),
        ("POST", "/v1/responses", {"model": "gpt-4o-mini", "input": "Why?", "stream": True}),
        ("POST", "/v1/embeddings", {"model": "text-embedding-3-small", "input": "Why?"}),
        ("POST", "/v1/ask", {}),
        ("POST", "/v1/nowhere", {}),
        ("GET", "/v1/ask", None),
        ("GET", "/v1/client/info?client_id=c1&product_id=p1", None),
        ("GET", "/v1/client/info?client_id=unknown&product_id=p1", None),
    ],
)
async def test_nothing_of_a_request_on_any_route_waits_for_the_garbage_collector(serve, method: str, path: str, body):
    async with serve(openai_embedding_models=("text-embedding-3-small",)) as service, leaving_nothing(service):
        for _ in range(TIMES):
            async with service.session.request(method, service.url + path, json=body, headers=ACCOUNT) as response:
                await response.read()


async def test_nothing_of_a_refusal_in_openai_s_words_waits_for_the_garbage_collector(service: Service):
    service.openai.script, url = Script(status=400), f"{service.url}/v1/chat/completions"
    async with leaving_nothing(service):
        for _ in range(TIMES):
            async with service.session.post(url, json=QUESTION, headers=ACCOUNT) as response:
                await response.read()


def test_errors_that_know_each_other_are_let_go():
    error, other = _raised(), _raised()
    error.__cause__, other.__cause__ = other, error

    let_go(error)

    assert error.__traceback__ is other.__traceback__ is None


async def test_nothing_of_a_request_without_a_ledger_waits_for_the_garbage_collector(serve, proxy: Proxy):
    async with serve(aws_endpoint_url_dynamodb=proxy.url, reserve_timeout=0.1) as service:
        await _ask(service)
        proxy.always = "break"
        async with leaving_nothing(service):
            for _ in range(TIMES):
                await _ask(service)
            proxy.always = None


async def test_nothing_of_a_request_beyond_the_quota_waits_for_the_garbage_collector(serve):
    async with serve(default_token_quota=1) as service, leaving_nothing(service):
        for _ in range(TIMES):
            await _ask(service)


async def test_nothing_of_a_request_whose_caller_left_waits_for_the_garbage_collector(service: Service):
    service.openai.script = Script(stall_at=3)
    async with leaving_nothing(service):
        for _ in range(TIMES):
            async with service.ask(stream=True) as response:
                for _ in range(3):  # all of it: else a write may fail, and asyncio's own loop keeps the frames of that
                    await response.content.readuntil(b"\n\n")
                response.close()
        await service.openai.journal.left(TIMES)


async def test_nothing_of_a_request_whose_body_stays_away_waits_for_the_garbage_collector(service: Service):
    async with leaving_nothing(service):
        for _ in range(TIMES):
            async with connect(service) as connection:
                connection.send(request("POST", "/v1/ask", AUTHORIZED, question())[:-1])
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not service.app[SERVICES].connections._busy:  # noqa: ASYNC110 - as below
                        await asyncio.sleep(0)
                connection.hang_up(reset=True)


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        request("POST", "/v1/ask", AUTHORIZED | {"X-Long": "a" * 10_000}, question()),
        request("POST", "/v1/ask", AUTHORIZED | {"Transfer-Encoding": "chunked"}) + b"no size\r\n",
    ],
    ids=["no head", "a long line", "no chunk"],
)
async def test_nothing_of_what_is_no_request_waits_for_the_garbage_collector(service: Service, sent: bytes):
    async with leaving_nothing(service):
        for _ in range(TIMES):
            async with connect(service) as connection:
                connection.send(sent)
                assert (await connection.fault()).status == 400


def _raised() -> Exception:
    try:
        raise ValueError
    except ValueError as exc:
        return exc


async def _ask(service: Service, **fields: Any) -> None:
    async with service.ask(**fields) as response:
        with suppress(aiohttp.ClientError):
            await response.read()


@asynccontextmanager
async def leaving_nothing(service: Service) -> AsyncIterator[None]:
    """Fails unless all that the block takes is freed once no request is being answered, and each is settled."""
    with garbage() as found:
        yield
        async with asyncio.timeout(PATIENCE_SECONDS):
            while service.app[SERVICES].connections._busy:  # noqa: ASYNC110 - nothing tells when the last one ends
                await asyncio.sleep(0)
            await service.ledger.settled()
        service.openai.script = Script()
        await _ask(service, client_id="another")
    assert found == {}
