"""The whole service in the test's process: GPTDock, a simulated OpenAI and moto's DynamoDB, all over HTTP."""

import asyncio
import copy
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web, web_app
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from gptdock.accounts import Account
from gptdock.dev.dynamodb import Tables, serve_dynamodb
from gptdock.dev.openai import SimulatedOpenAI
from gptdock.http import app as application
from gptdock.http import server
from gptdock.http.app_keys import SERVICES
from gptdock.ledger.holds import Ledger
from gptdock.ledger.store import Store
from gptdock.settings import Settings
from gptdock.upstream import client

KEY = "test-key"
ADMIN_KEY = "test-admin-key"
NOBODY = "http://127.0.0.1:1/v1"  # an upstream for tests that never call it: nothing listens there
QUESTION = {"question": "Who are you?", "user_id": "u7", "client_id": "c1", "product_id": "p1"}
_made = Tables()


@dataclass
class Service:
    """A running GPTDock, its upstream, and a store on its tables. `session` sends the key with each request."""

    url: str
    app: web.Application
    session: aiohttp.ClientSession
    openai: SimulatedOpenAI
    store: Store
    stop: asyncio.Event
    served: asyncio.Task[bool]

    @property
    def ledger(self) -> Ledger:
        return self.app[SERVICES].ledger

    def ask(self, **fields: Any):
        """POST /v1/ask with QUESTION, these fields replaced or added; use it with `async with`."""
        return self.session.post(f"{self.url}/v1/ask", json=QUESTION | fields)

    def admin(self, method: str, path: str, *, json: Any = None, **query: str):
        """A request to `/v1/admin/<path>` with the admin key; about client c1, if about one and not said otherwise.

        Use it with `async with`.
        """
        about = {"client_id": "c1", "product_id": "p1"} if path.partition("/")[0] == "client" else {}
        headers, params = {"Authorization": f"Bearer {ADMIN_KEY}"}, about | query
        return self.session.request(method, f"{self.url}/v1/admin/{path}", params=params, json=json, headers=headers)

    async def info(self, client_id: str = "c1", product_id: str = "p1") -> dict[str, Any]:
        """The JSON of /v1/client/info, once everything is settled."""
        await self.ledger.settled()
        query = {"client_id": client_id, "product_id": product_id}
        async with self.session.get(f"{self.url}/v1/client/info", params=query) as response:
            content: dict[str, Any] = await response.json()
            return content

    async def used(self) -> int:
        """The tokens charged to client c1 in this period, once everything is settled; 0 if it is new."""
        await self.ledger.settled()
        book = await self.store.read(Account("c1", "p1"), self.ledger.period())
        return book.used if book else 0

    async def receipts(self, client_id: str = "c1", product_id: str = "p1") -> list[dict[str, Any]]:
        """The receipts in the table `usage`, oldest first, once everything is settled; numbers as int."""
        await self.ledger.settled()
        return await read_receipts(self.store, Account(client_id, product_id))

    async def receipts_as_asked(self) -> list[dict[str, Any]]:
        """The receipts of this process's requests by the numbers of their holds.

        Their times are DynamoDB's as it is known so far, and that may step back within the first second.
        """
        return sorted(await self.receipts(), key=lambda receipt: int(receipt["receipt"].rpartition(".")[2]))


async def read_receipts(store: Store, account: Account) -> list[dict[str, Any]]:
    """The receipts of one client in the table `usage`, oldest first; numbers as int."""
    answer = None
    while answer is None:
        with suppress(ConnectTimeoutError, ReadTimeoutError):  # moto took seconds on a busy machine
            answer = await store._client.aiobotocore.query(
                TableName=store._usage,
                KeyConditionExpression="account = :a",
                ExpressionAttributeValues={":a": {"S": f"{account.client_id}#{account.product_id}"}},
            )
    return [
        {name: int(value["N"]) if "N" in value else value["S"] for name, value in item.items()}
        for item in answer["Items"]
    ]


@asynccontextmanager
async def serve_tables() -> AsyncIterator[str]:
    """Run a DynamoDB with our empty tables; yields its URL. Only the first call creates them; later ones copy them."""
    if not _made:
        async with serve_dynamodb(tables=_made) as url, Store.connected(make_settings(url, NOBODY)) as store:
            await _be_answered_once(url)
            await store.create_tables()
    async with serve_dynamodb(tables=copy.deepcopy(_made)) as url:
        yield url


async def _be_answered_once(url: str) -> None:
    """Wait for moto to read its models, which on a busy machine takes longer than a store waits for an answer."""
    headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables"}
    async with aiohttp.ClientSession() as session, session.post(url, data=b"{}", headers=headers) as response:
        assert response.status == 200


async def make_tables_anew(endpoint: str) -> None:
    """Delete all tables of a DynamoDB that earlier tests used, and create ours."""
    async with Store.connected(make_settings(endpoint, NOBODY)) as store:
        for name in (await store._client.aiobotocore.list_tables())["TableNames"]:
            await store._client.aiobotocore.delete_table(TableName=name)
        await store.create_tables()


def make_settings(dynamodb: str, openai: str, **changes: object) -> Settings:
    """Settings for a test, with short waits; `changes` are settings in lower case."""
    environ = {
        "OPEN_AI_KEY": "sk-upstream-secret",
        "OPENAI_BASE_URL": openai,
        "PRE_SHARED_KEY": KEY,
        "ADMIN_KEY": ADMIN_KEY,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
        "DRAIN_SECONDS": "1",
        "RESERVE_TIMEOUT": "20",  # machines that run tests are busy
    }
    return Settings.from_env(environ | {name.upper(): str(value) for name, value in changes.items()})


@asynccontextmanager
async def running(settings: Settings, openai: SimulatedOpenAI, *, key: str = KEY) -> AsyncIterator[Service]:
    """Run GPTDock on a free port, and drain it at the end. Fails if something is then unsettled.

    The tables must exist.
    """
    async with Store.connected(settings) as store:
        app, sock, stop, ready = application.create(settings), _free_socket(), asyncio.Event(), asyncio.Event()
        served = asyncio.create_task(server.serve(app, sock, stop, ready.set))
        started = asyncio.create_task(ready.wait())
        await asyncio.wait([served, started], return_when=asyncio.FIRST_COMPLETED)
        if served.done():
            sock.close()
            served.result()
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        try:
            as_many_as_asked = aiohttp.TCPConnector(limit=0)
            headers = {"Authorization": f"Bearer {key}"}
            async with aiohttp.ClientSession(headers=headers, connector=as_many_as_asked) as session:
                yield Service(url, app, session, openai, store, stop, served)
        finally:
            stop.set()
            settled = await served
            web_app._cached_build_middleware.cache_clear()  # it keeps up to 1024 applications alive
        assert settled, "not everything was settled"


def _free_socket() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


def sse_data(body: bytes) -> list[bytes]:
    """The data of each event of a stream whose lines end with LF, as OpenAI's do."""
    return [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]


def take_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each service that is started from now on do without aiohttp's private parts, as where they do not fit."""
    monkeypatch.setattr(client, "can_tap", lambda: False)
    monkeypatch.setattr(client, "can_post", lambda session: False)
