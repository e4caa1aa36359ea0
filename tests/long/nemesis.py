"""Runs real GPTDock processes through seeds of lost and late answers of DynamoDB, black holes, kill -9, SIGSTOP,
callers that leave, operators and resets, on machines whose clocks jump. Models are slow and fast, half of the ids as
long as they may be, and each process forgets a book as soon as it needs a third. An observer reads the books all the
time; at the end they are compared with what OpenAI generated.

Seeds run one after the other on the same processes, each with its own clients. At the end all leases must end, and all
receipts be put. `python -m tests.long.nemesis 0 500` runs 500 seeds, from 0, and prints a Report.
"""

import asyncio
import os
import random
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import aiohttp

from gptdock.admin.audit import Finding, audit
from gptdock.admin.clients import Clients
from gptdock.errors import LedgerUnavailable
from gptdock.ledger.book import Book, Receipt
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from tests.harness.proxy import proxied
from tests.harness.service import ADMIN_KEY, KEY, make_settings, serve_tables
from tests.long.nemesis_caller import CALLERS, MOST_COMPLETION_TOKENS, Client, call
from tests.long.nemesis_mishaps import MISHAPS, Mishaps, insisted
from tests.long.nemesis_report import Report, judge, see
from tests.long.nemesis_upstreams import MODELS, Models, WatchedProxy, serve_models
from tests.long.nemesis_worker import Worker

SKEWS = (-240, 70, 240)  # seconds, by which the clock of each process's machine jumps back and forth
CLIENTS = 4  # of a seed: more than a process remembers
QUOTAS = (300, 2_000, 20_000)
SETTINGS = {
    "PROGRESS_SECONDS": "0.5",
    "LEASE_SECONDS": "2",
    "LEASE_GRACE_SECONDS": "0",
    "RESERVE_TIMEOUT": "1",
    "MAX_COMPLETION_TOKENS": str(MOST_COMPLETION_TOKENS),
    "OPENAI_MODELS": ",".join(MODELS),
    "LOG_LEVEL": "ERROR",
    "OPEN_AI_KEY": "sk",
    "PRE_SHARED_KEY": KEY,
    "ADMIN_KEY": ADMIN_KEY,
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "HOST": "127.0.0.1",
}
QUIET_SECONDS = 60.0  # within which all leases must end
WAIT_SECONDS = 0.2  # from one look at what must end to the next


@dataclass
class Nemesis:
    """The processes and what they talk to; `strike` runs one seed."""

    workers: list[Worker]
    session: aiohttp.ClientSession
    openai: Models
    proxy: WatchedProxy
    store: Store
    operator: Clients
    report: Report = field(default_factory=Report)
    clients: dict[str, Client] = field(default_factory=dict)  # by their ids

    def __post_init__(self) -> None:
        self._waits = round(QUIET_SECONDS / WAIT_SECONDS)  # for all clients together
        reached = self.report.reached
        self._mishaps = Mishaps(self.workers, self.session, self.proxy, reached, self.operator, self._look)

    async def strike(self, seed: int) -> None:
        """Run one seed: four clients, their callers, and one mishap."""
        rng, mishap = random.Random(seed), MISHAPS[seed % len(MISHAPS)]
        clients = [Client(f"seed-{seed}-{i}", mishap, [rng.choice(QUOTAS)], rng.random() < 0.5) for i in range(CLIENTS)]
        for client in clients:
            self.clients[client.account.client_id] = client
            await insisted(partial(self.store.open_book, client.account, "all", client.quotas[0], "now"))
        lucks = [(client, random.Random(rng.random())) for client in clients for _ in range(CALLERS)]
        callers = [call(client, self.workers, self.session, luck, self._read) for client, luck in lucks]
        async with self._observed(clients):
            await asyncio.gather(*callers, self._befall(mishap, clients, rng))

    async def _befall(self, mishap: str, clients: list[Client], rng: random.Random) -> None:
        await self._mishaps.befall(mishap, clients, rng)
        if mishap == "hole":
            await self._recovered(clients)

    async def _recovered(self, clients: list[Client]) -> None:
        """Wait until every process has settled what it could not settle while DynamoDB was out of reach."""
        async with asyncio.timeout(QUIET_SECONDS):
            while any([_lags(await self._read(client)) for client in clients]):
                continue

    async def _read(self, client: Client) -> Book:
        book = await insisted(partial(self.store.read, client.account, "all"))
        assert book
        return book

    async def _look(self, client: Client) -> int:
        book = await self._read(client)
        with suppress(LedgerUnavailable):
            book = await _sweeper(self.store).sweep(client.account, "all", book)
        return book.held

    @asynccontextmanager
    async def _observed(self, clients: list[Client]) -> AsyncIterator[None]:
        """See the books every 50 ms inside. Raises what ended that, if it did not last."""
        observer = asyncio.create_task(self._observe(clients))
        try:
            yield
        finally:
            observer.cancel()
            with suppress(asyncio.CancelledError):
                await observer

    async def _observe(self, clients: list[Client]) -> None:
        while True:
            for client in clients:
                see(self.report, client, await self._read(client))
            await asyncio.sleep(0.05)

    async def settle(self) -> None:
        """Wait until nothing is held and all receipts are put, and compare every book with the journal."""
        records = defaultdict(list)
        for record in self.openai.journal:
            records[str(record.request["messages"][-1]["content"])].append(record)
        for client in self.clients.values():
            for finding, receipts in await self._settled(client):
                judge(self.report, finding, client, records[client.question], receipts)
        self.report.reached.update(self.proxy.reached)
        self.report.end(len(self.clients))

    async def _settled(self, client: Client) -> list[tuple[Finding, list[Receipt]]]:
        """The client's book with its receipts, once it is at rest, or all patience is used up."""
        while True:
            found = await insisted(partial(self._audit, client))
            if self._waits <= 0 or not any(_is_unsettled(*each) for each in found):
                return found
            self._waits -= 1
            await asyncio.sleep(WAIT_SECONDS)

    async def _audit(self, client: Client) -> list[tuple[Finding, list[Receipt]]]:
        """What the audit finds of its books, each with its receipts."""
        findings = [finding async for finding in audit(self.store, _sweeper(self.store), client.account.client_id)]
        return [(each, [receipt async for receipt in self.store.receipts(each.account, "all")]) for each in findings]


def _is_unsettled(finding: Finding, receipts: list[Receipt]) -> bool:
    put = {receipt.key for receipt in receipts}
    charged = {receipt.key for lease in finding.book.leases.values() for receipt in lease.receipts}
    return bool(finding.book.held) or finding.busy or not charged <= put


def _lags(book: Book) -> bool:
    return bool(book.held) or any(lease.number < 0 and lease.will for lease in book.leases.values())


def _sweeper(store: Store) -> Sweeper:
    return Sweeper(store, "nemesis", grace=0, retain=3600)


@asynccontextmanager
async def working(environ: dict[str, str], session: aiohttp.ClientSession) -> AsyncIterator[list[Worker]]:
    """Run a process for each of SKEWS; none is left, whether or not all of them could start."""
    workers = [Worker(environ, skew) for skew in SKEWS]
    try:
        async with asyncio.TaskGroup() as starting:
            for worker in workers:
                starting.create_task(worker.start(session))
        yield workers
    finally:
        await asyncio.gather(*(worker.close() for worker in workers))


@asynccontextmanager
async def battlefield() -> AsyncIterator[Nemesis]:
    """Run a process for each of SKEWS, DynamoDB behind a proxy, and a simulated OpenAI."""
    async with AsyncExitStack() as stack:
        dynamodb = await stack.enter_async_context(serve_tables())
        proxy = await stack.enter_async_context(proxied(dynamodb, kind=WatchedProxy))
        assert isinstance(proxy, WatchedProxy)
        openai = await stack.enter_async_context(serve_models())
        addresses = {"OPENAI_BASE_URL": openai.url, "AWS_ENDPOINT_URL_DYNAMODB": proxy.url}
        environ = dict(os.environ) | SETTINGS | addresses
        store = await stack.enter_async_context(Store.connected(make_settings(dynamodb, openai.url)))
        settings = make_settings(proxy.url, openai.url, lease_grace_seconds=0)
        operator = Clients(await stack.enter_async_context(Store.connected(settings)), settings)
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Authorization": f"Bearer {KEY}"}
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, headers=headers))
        workers = await stack.enter_async_context(working(environ, session))
        nemesis = Nemesis(workers, session, openai, proxy, store, operator)
        try:
            yield nemesis
        finally:
            proxy.always = None
            codes = await asyncio.gather(*(worker.end(signal.SIGTERM) for worker in workers))
            if any(codes):
                nemesis.report.failures.append(f"exit codes {codes}")


async def fight(seeds: Iterable[int]) -> Report:
    """Run all seeds, then settle and judge."""
    async with battlefield() as nemesis:
        for seed in seeds:
            await nemesis.strike(seed)
        await nemesis.settle()
    return nemesis.report


if __name__ == "__main__":
    print(asyncio.run(fight(range(int(sys.argv[1]), int(sys.argv[1]) + int(sys.argv[2])))))
