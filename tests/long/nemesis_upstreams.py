"""What the processes of the nemesis talk to: an OpenAI with slow and fast models, and a DynamoDB that is watched."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import Script
from gptdock.prompt.tokens import Tokens
from tests.harness.proxy import Proxy

MODELS = {"gpt-4o-20": 20, "gpt-4o-mini": 50, "gpt-4o-200": 200, "gpt-4o-700": 700}  # tokens a second
ANSWER_SECONDS = 0.8
SCRIPTS = {name: Script(token_seconds=1 / speed, tokens=int(speed * ANSWER_SECONDS)) for name, speed in MODELS.items()}


class Models(SimulatedOpenAI):
    """Answers each request at the speed of its model."""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.script = SCRIPTS[body["model"]]  # taken before any other request can set another one
        return await super()._answer(request)


@asynccontextmanager
async def serve_models() -> AsyncIterator[Models]:
    """Run an OpenAI that has these models."""
    openai = Models(Tokens("gpt-4o-mini").pieces, Script())
    try:
        await openai.start("127.0.0.1", 0)
        yield openai
    finally:
        await openai.stop()


@dataclass
class WatchedProxy(Proxy):
    """Counts what was `reached`, and breaks all calls to the table `usage` while `usage_is_down`."""

    usage_is_down: bool = False
    reached: Counter[str] = field(default_factory=Counter)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Break the call if it needs the table `usage` while that is down, otherwise as a Proxy."""
        body = await request.read()
        if self.usage_is_down and b'"gptdock_usage"' in body:
            self.reached["usage table down"] += 1
            return await self._break(request, "internal", {}, body)
        return await super().handle(request)

    async def _forward(self, sent: dict[str, str], body: bytes) -> web.Response:
        answer = await super()._forward(sent, body)
        if answer.status == 400 and b"attribute_not_exists(#l)" in body and isinstance(answer.body, bytes):
            self.reached["forgotten book"] += _was_forgotten(json.loads(body), json.loads(answer.body))
        return answer


def _was_forgotten(call: dict[str, dict[str, dict[str, dict[str, dict[str, str]]]]], answer: dict[str, object]) -> bool:
    """Whether a first commit was refused for a lease of its own process that is not from this commit."""
    item = answer.get("Item")
    lease = item.get(str(call["ExpressionAttributeNames"]["#l"])) if isinstance(item, dict) else None
    number = int(call["ExpressionAttributeValues"][":lease"]["M"]["n"]["N"])
    return lease is not None and abs(int(lease["M"]["n"]["N"])) != number
