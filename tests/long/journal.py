"""Compares the journal of the simulated OpenAI with the books, over random requests on all routes, with faults.

`python -m tests.long.journal 2000` asks 2,000 times and prints a Report; it fails if a promise did not hold. Each
request is numbered in its text, so that what its attempts generated stands beside its receipt.
"""

import asyncio
import random
import re
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle
from typing import Any

import aiohttp
from aiohttp import web

from gptdock.accounts import Account
from gptdock.dev.asked import Asked as Read
from gptdock.dev.journal import Record
from gptdock.dev.openai import Room, SimulatedOpenAI
from gptdock.dev.script import Script
from gptdock.prompt.tokens import Tokens
from tests.harness.service import Service, make_settings, running, serve_tables
from tests.long.journal_report import Report, cases, judge
from tests.long.journal_requests import EMBEDDING_MODEL, KINDS, MODELS, MOST_COMPLETION_TOKENS, Asked, draw

CALLERS = 16  # at a time
ASKS = 25  # by one client, one after the other
QUOTAS = (1_000_000, 300, 1_000_000, 2_000, 1_000_000)  # of the clients in turn; some are used up
SETTINGS = {
    "openai_models": ",".join(MODELS),
    "openai_embedding_models": EMBEDDING_MODEL,
    "max_completion_tokens": MOST_COMPLETION_TOKENS,
}
TIMEOUTS = ("connect_timeout", "first_event_timeout", "think_timeout", "event_timeout", "request_timeout")


class Scripted(SimulatedOpenAI):
    """Answers the attempts of each request by its own scripts, and keeps its records together."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(tokens.pieces, Script())
        self.scripts: dict[int, list[Script]] = {}
        self.records: dict[int, list[Record]] = defaultdict(list)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        scripts = self.scripts[number_in(await request.text())]
        self.next(scripts.pop(0) if len(scripts) > 1 else scripts[0])  # taken before another request comes
        return await super()._answer(request)

    async def _record(self, room: Room, body: dict[str, Any], asked: Read, size: int | None) -> Record:
        record = await super()._record(room, body, asked, size)
        self.records[number_in(str(body))].append(record)
        return record


def number_in(text: str) -> int:
    """The number of the request that has this text."""
    found = re.search(r"number-(\d+)", text)
    assert found
    return int(found[1])


async def ask(service: Service, openai: Scripted, account: Account, asked: Asked) -> None:
    """Ask, and read to the end or leave."""
    openai.scripts[asked.number] = list(asked.plan.scripts)
    reading = asyncio.create_task(_read(service, account, asked))
    leaving = asyncio.create_task(_reached(openai, asked))
    await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
    for task in (reading, leaving):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _read(service: Service, account: Account, asked: Asked) -> None:
    user = f"u{asked.number}"
    headers = {"X-Client-Id": account.client_id, "X-Product-Id": account.product_id, "X-User-Id": user}
    body = asked.body | (account._asdict() | {"user_id": user} if asked.route == "ask" else {})
    async with service.session.post(f"{service.url}/v1/{asked.route}", json=body, headers=headers) as response:
        with suppress(aiohttp.ClientError):
            await response.read()


async def _reached(openai: Scripted, asked: Asked) -> None:
    leave_at = asked.plan.leave_at
    if leave_at is None:
        await asyncio.Event().wait()
    else:
        records = openai.records[asked.number]
        await openai.journal.until(lambda: any(record.events >= leave_at for record in records), seconds=60)


@asynccontextmanager
async def served(deadline_seconds: float) -> AsyncIterator[tuple[Service, Scripted]]:
    """Run GPTDock between a DynamoDB and a scripted OpenAI."""
    tokens = Tokens("gpt-4o-mini")
    openai = Scripted(tokens)
    try:
        await openai.start("127.0.0.1", 0)
        async with serve_tables() as dynamodb:
            settings = make_settings(dynamodb, openai.url, **SETTINGS | dict.fromkeys(TIMEOUTS, deadline_seconds))
            async with running(settings, openai) as service:
                yield service, openai
    finally:
        await openai.stop()
        tokens.close()


async def compare(
    requests: int, seed: int = 1, *, kinds: Sequence[str] = tuple(KINDS), deadline_seconds: float = 2
) -> Report:
    """Ask so many times, for answers of these kinds in turn, then settle and judge."""
    report, chance = Report(), random.Random(seed)
    asks = [draw(number, chance, kinds) for number in range(requests)]
    clients = {Account(f"c{first}", "p1"): asks[first : first + ASKS] for first in range(0, requests, ASKS)}
    async with served(deadline_seconds) as (service, openai):
        for account, quota in zip(clients, cycle(QUOTAS), strict=False):
            await service.store.open_book(account, "all", quota, "now")
        waiting = iter([(account, asked) for account, asks in clients.items() for asked in asks])
        await asyncio.gather(*(_call(service, openai, waiting) for _ in range(CALLERS)))
        await service.ledger.settled()
        for account, asks in clients.items():
            receipts = [receipt async for receipt in service.store.receipts(account, "all")]
            book = await service.store.read(account, "all")
            assert book
            judge(report, cases(asks, openai.records, receipts), book)
    report.end(kinds)
    return report


async def _call(service: Service, openai: Scripted, waiting: Iterator[tuple[Account, Asked]]) -> None:
    for account, asked in waiting:
        await ask(service, openai, account, asked)


if __name__ == "__main__":
    result = asyncio.run(compare(int(sys.argv[1]), *map(int, sys.argv[2:])))
    print(result)
    sys.exit(bool(result.failures))
