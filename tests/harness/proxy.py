"""A proxy between GPTDock and DynamoDB that counts calls, and breaks those that a test chooses."""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal

import aiohttp
from aiohttp import web

# What happens to a call:
#   lose     it is applied, and the connection closed without an answer
#   mute     it is applied and never answered
#   late     the connection is closed, and the call applied when `release` is called
#   hole     it is neither applied nor answered
#   break    the connection is closed, and the call not applied
#   pass     it is forwarded; the next call of the operation gets the next fault
#   garbage  it is answered by 200 with a body that is not JSON
# The others are answers of DynamoDB that refuse the call for a reason other than its conditions.
Fault = Literal[
    "lose", "mute", "late", "hole", "break", "pass", "throttle", "conflict", "internal", "expired", "garbage"
]

REFUSALS: dict[str, tuple[int, str]] = {
    "throttle": (400, "ThrottlingException"),
    "conflict": (400, "TransactionConflictException"),
    "internal": (500, "InternalServerError"),
    "expired": (400, "ExpiredTokenException"),
}


@dataclass
class Proxy:
    """`faults` are for the next calls of an operation, one each; `always`, if set, is for every call instead.

    `url` is its address; `calls` counts calls by operation; `struck` is set when a call has been broken. Every answer
    is dated by `clock`.
    """

    upstream: str
    session: aiohttp.ClientSession
    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    always: Fault | None = None
    most_bytes: int | None = None  # of an UpdateItem: it stands for the size that the item would have
    clock: Callable[[], float] = time.time
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    _late: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    def strike(self, *faults: Fault, operation: str = "UpdateItem") -> None:
        """Break the next calls of this operation, one by each fault; clears `struck`."""
        self.faults.setdefault(operation, deque()).extend(faults)
        self.struck.clear()

    async def release(self) -> list[int]:
        """Apply all late calls now; returns the status of each."""
        late, self._late = self._late, []
        return [(await self._forward(*request)).status for request in late]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Count the call, then break or forward it."""
        body, operation = await request.read(), request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        self.calls[operation] += 1
        sent = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        planned = self.faults.get(operation)
        fault = self.always or (planned.popleft() if planned else None)
        if fault and fault != "pass":
            self.struck.set()
            return await self._break(request, fault, sent, body)
        if operation == "UpdateItem" and self.most_bytes and len(body) > self.most_bytes:
            message = "Item size to update has exceeded the maximum allowed size"
            return self._dated(_refusal(400, "ValidationException", message))
        return await self._forward(sent, body)

    async def _break(self, request: web.BaseRequest, fault: Fault, sent: dict[str, str], body: bytes) -> web.Response:
        if fault in REFUSALS:
            return self._dated(_refusal(*REFUSALS[fault], "not now"))
        if fault == "garbage":
            return web.Response(text="<html>")
        if fault in ("lose", "mute"):
            await self._forward(sent, body)
        if fault == "late":
            self._late.append((sent, body))
        if fault in ("hole", "mute"):
            await self._closing.wait()
        if request.transport:
            request.transport.abort()
        return web.Response()

    async def _forward(self, sent: dict[str, str], body: bytes) -> web.Response:
        async with self.session.post(self.upstream, data=body, headers=sent) as answer:
            return self._dated(web.Response(status=answer.status, body=await answer.read(), headers=_kept(answer)))

    def _dated(self, response: web.Response) -> web.Response:
        response.headers["Date"] = formatdate(self.clock(), usegmt=True)
        return response


def _refusal(status: int, code: str, message: str) -> web.Response:
    content = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message})
    return web.Response(status=status, text=content, content_type="application/x-amz-json-1.0")


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    names = ("Content-Type", "x-amzn-requestid", "x-amz-crc32")
    return {name: answer.headers[name] for name in names if name in answer.headers}


@asynccontextmanager
async def proxied(
    upstream: str, clock: Callable[[], float] = time.time, kind: type[Proxy] = Proxy
) -> AsyncIterator[Proxy]:
    """Run a proxy of this kind in front of the DynamoDB at `upstream`, whose time is that of `clock`."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        proxy = kind(upstream, session, clock=clock)
        runner = web.ServerRunner(web.Server(proxy.handle, access_log=None), shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            proxy._closing.set()
            await runner.cleanup()
