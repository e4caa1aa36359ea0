"""Runs real GPTDock processes through seeds of lost and late answers of DynamoDB, black holes, kill -9, SIGSTOP, and
callers that leave, on machines whose clocks jump. An observer reads the books all the time; at the end they are
compared with what OpenAI generated.

Seeds run one after the other on the same processes, each with its own client. At the end all leases must end.
`python -m tests.long.nemesis 0 500` runs 500 seeds, from 0, and prints a Report.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp

from gptdock.accounts import Account
from gptdock.admin.audit import Finding, audit
from gptdock.dev.journal import Record
from gptdock.dev.openai import SimulatedOpenAI, serve_openai
from gptdock.dev.script import Script
from gptdock.errors import LedgerUnavailable
from gptdock.ledger.book import Book
from gptdock.ledger.store import Store
from gptdock.ledger.sweeper import Sweeper
from gptdock.prompt.tokens import Tokens
from tests.harness.proxy import Fault, Proxy, proxied
from tests.harness.service import KEY, make_settings, serve_tables
from tests.long.nemesis_report import Report, judge
from tests.long.nemesis_worker import Worker

SKEWS = (-240, 70, 240)  # seconds, by which the clock of each process's machine jumps back and forth
PROCESSES = len(SKEWS)
TOKEN_SECONDS = 0.02  # 50 tokens a second; a will allows for more
SETTINGS = {
    "PROGRESS_SECONDS": "0.5",
    "LEASE_SECONDS": "2",
    "LEASE_GRACE_SECONDS": "0",
    "RESERVE_TIMEOUT": "1",
    "MAX_COMPLETION_TOKENS": "120",
    "LOG_LEVEL": "ERROR",
}
QUIET_SECONDS = 60.0  # within which all leases must end
MISHAPS = ("faults", "faults", "hole", "kill", "stop", "leave")


@dataclass
class Nemesis:
    """The processes and what they talk to; `strike` runs one seed."""

    workers: list[Worker]
    session: aiohttp.ClientSession
    openai: SimulatedOpenAI
    proxy: Proxy
    store: Store
    report: Report = field(default_factory=Report)
    clients: dict[str, tuple[int, str]] = field(default_factory=dict)  # quota and mishap of each

    async def strike(self, seed: int) -> None:
        """Run one seed: twelve callers of one client, and one mishap."""
        rng = random.Random(seed)
        mishap, client = MISHAPS[seed % len(MISHAPS)], f"seed-{seed}"
        quota = rng.choice([300, 1_000, 5_000])
        self.clients[client] = quota, mishap
        await self.store.open_book(Account(client, "p"), "all", quota, "now")
        callers = [self._call(rng.random(), client, leaves=mishap in ("leave", "faults")) for _ in range(12)]
        observer = asyncio.create_task(self._observe(client))
        await asyncio.gather(*callers, self._mishap(mishap, client, rng))
        observer.cancel()
        await asyncio.gather(observer, return_exceptions=True)

    async def _call(self, luck: float, client: str, *, leaves: bool) -> None:
        await asyncio.sleep(luck * 0.4)
        worker = self.workers[int(luck * 1000) % PROCESSES]
        body = {
            "question": f"I am {client}",
            "user_id": 1,
            "client_id": client,
            "product_id": "p",
            "stream": luck < 0.7,
        }
        patience = luck * 0.8 if leaves and luck < 0.5 else 30.0
        self.report.requests += 1
        with suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(patience), self.session.post(f"{worker.url}/v1/ask", json=body) as response:
                if leaves and luck > 0.8:
                    await asyncio.sleep(0.8 * luck)  # it does not read, then leaves
                else:
                    await response.read()

    async def _mishap(self, mishap: str, client: str, rng: random.Random) -> None:
        await asyncio.sleep(rng.uniform(0.05, 0.5))
        worker = rng.choice(self.workers)
        if mishap == "faults":
            faults: list[Fault] = [rng.choice(["lose", "late", "throttle", "break"]) for _ in range(rng.randint(1, 6))]
            self.report.lost_answers += faults.count("lose")
            self.proxy.strike(*faults)
            await asyncio.sleep(rng.uniform(0.1, 1))
            await self.proxy.release()
        elif mishap == "hole":
            self.proxy.always = rng.choice(["lose", "hole", "break"])
            await asyncio.sleep(rng.uniform(0.2, 2.5))
            self.proxy.always = None
            await self._recovered(client)
        elif mishap == "kill":
            self.report.kills += 1
            await worker.end(signal.SIGKILL)
            await worker.start(self.session)
        elif mishap == "stop":
            self.report.stops += 1
            worker.send(signal.SIGSTOP)
            await asyncio.sleep(rng.uniform(0.2, 3.2))
            worker.send(signal.SIGCONT)

    async def _recovered(self, client: str) -> None:
        """Wait until every process has settled what it could not settle while DynamoDB was out of reach."""
        async with asyncio.timeout(QUIET_SECONDS):
            while _lags(await self._read(client)):
                continue

    async def _read(self, client: str) -> Book:
        """Read the book, again after a timeout: the machine may be too busy for the store's deadlines."""
        while True:
            with suppress(LedgerUnavailable):
                book = await self.store.read(Account(client, "p"), "all")
                assert book
                return book

    async def _observe(self, client: str) -> None:
        """Read the book every 50 ms: its numbers add up, and no hold takes `left` below 0."""
        while True:
            book = await self._read(client)
            if book.left + book.held + book.used != book.max or (book.left < 0 and self.clients[client][1] != "stop"):
                self.report.failures.append(f"{client}: {book}")
            await asyncio.sleep(0.05)

    async def settle(self) -> None:
        """Wait until nothing is held, then compare every book with the journal."""
        findings: list[Finding] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(QUIET_SECONDS):
                while not findings or any(finding.book.held or finding.busy for finding in findings):
                    await asyncio.sleep(0.2)
                    with suppress(LedgerUnavailable):
                        findings = [finding async for finding in audit(self.store, _sweeper(self.store))]
        for finding in findings:
            await self._judge(finding)

    async def _judge(self, finding: Finding) -> None:
        client = finding.account.client_id
        quota, mishap = self.clients[client]
        records = [record for record in self.openai.journal if _asked(record) == f"I am {client}"]
        receipts = [receipt async for receipt in self.store.receipts(finding.account, "all")]
        judge(self.report, finding, quota, mishap, records, receipts)


def _lags(book: Book) -> bool:
    return bool(book.held) or any(lease.number < 0 and lease.will for lease in book.leases.values())


def _asked(record: Record) -> str:
    return str(record.request["messages"][-1]["content"])


def _sweeper(store: Store) -> Sweeper:
    return Sweeper(store, "nemesis", grace=0, retain=3600)


@asynccontextmanager
async def battlefield() -> AsyncIterator[Nemesis]:
    """Run PROCESSES processes, DynamoDB behind a proxy, and a simulated OpenAI."""
    tokens = Tokens("gpt-4o-mini")
    script = Script(token_seconds=TOKEN_SECONDS, tokens=40)
    async with AsyncExitStack() as stack:
        dynamodb = await stack.enter_async_context(serve_tables())
        proxy = await stack.enter_async_context(proxied(dynamodb))
        openai = await stack.enter_async_context(serve_openai(pieces=tokens.pieces, script=script))
        environ = (
            dict(os.environ)
            | SETTINGS
            | {
                "OPEN_AI_KEY": "sk",
                "OPENAI_BASE_URL": openai.url,
                "PRE_SHARED_KEY": KEY,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_ENDPOINT_URL_DYNAMODB": proxy.url,
                "HOST": "127.0.0.1",
            }
        )
        store = await stack.enter_async_context(Store.connected(make_settings(dynamodb, openai.url)))
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Authorization": f"Bearer {KEY}"}
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, headers=headers))
        workers = [Worker(environ, skew) for skew in SKEWS]
        await asyncio.gather(*(worker.start(session) for worker in workers))
        nemesis = Nemesis(workers, session, openai, proxy, store)
        try:
            yield nemesis
        finally:
            proxy.always = None
            codes = await asyncio.gather(*(worker.end(signal.SIGTERM) for worker in workers))
            for worker in workers:
                worker.close()
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
