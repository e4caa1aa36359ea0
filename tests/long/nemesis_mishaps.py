"""The mishaps of the nemesis: what befalls the processes and DynamoDB during a seed."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import aiohttp

from gptdock.admin.changes import Operator
from gptdock.admin.clients import Clients
from gptdock.errors import LedgerUnavailable
from tests.harness.proxy import Fault
from tests.harness.service import ADMIN_KEY
from tests.long.nemesis_caller import Client
from tests.long.nemesis_upstreams import WatchedProxy
from tests.long.nemesis_worker import Worker

NEMESIS = Operator("nemesis", "nemesis")
ATTEMPTS = 20  # to find processes that hold something
MISHAPS = ("faults", "hole", "kill", "stop", "leave", "usage", "quota", "sweep", "reset")

Answer = TypeVar("Answer")


async def insisted(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask again after each timeout: the machine may be too busy for the store's deadlines."""
    while True:
        with suppress(LedgerUnavailable):
            return await ask()


@dataclass
class Mishaps:
    """Does one mishap at a time, and counts those of a kind that leaves no other trace.

    `look` shows how many tokens a client has on hold, after the leases that have ended are swept.
    """

    workers: list[Worker]
    session: aiohttp.ClientSession
    proxy: WatchedProxy
    reached: Counter[str]
    operator: Clients
    look: Callable[[Client], Awaitable[int]]

    async def befall(self, mishap: str, clients: list[Client], rng: random.Random) -> None:
        """Do what `mishap` says, shortly after the callers began."""
        await asyncio.sleep(rng.uniform(0.05, 0.5))
        worker = rng.choice(self.workers)
        if mishap == "faults":
            await self._faults(rng)
        elif mishap == "hole":
            self.proxy.always = rng.choice(["lose", "hole", "break"])
            await asyncio.sleep(rng.uniform(0.2, 2.5))
            self.proxy.always = None
        elif mishap == "kill":
            self.reached["killed"] += 1
            await worker.end(signal.SIGKILL)
            await worker.start(self.session)
        elif mishap == "stop":
            await self._pause(worker, rng.uniform(0.2, 3.2))
        elif mishap == "usage":
            self.proxy.usage_is_down = True
            await asyncio.sleep(rng.uniform(2, 3))
            self.proxy.usage_is_down = False
        elif mishap == "quota":
            await asyncio.gather(*(self._set_quota(client, rng) for client in clients))
        elif mishap in ("sweep", "reset"):
            await self._sweep_living(clients, rng, resets=mishap == "reset")

    async def _faults(self, rng: random.Random) -> None:
        faults: list[Fault] = [rng.choice(["lose", "late", "throttle", "break"]) for _ in range(rng.randint(1, 6))]
        self.reached["lost answers"] += faults.count("lose")
        self.proxy.strike(*faults)
        await asyncio.sleep(rng.uniform(0.1, 1))
        await self.proxy.release()

    async def _pause(self, worker: Worker, seconds: float) -> None:
        self.reached["paused"] += 1
        worker.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        worker.send(signal.SIGCONT)

    async def _sweep_living(self, clients: list[Client], rng: random.Random, *, resets: bool) -> None:
        """Pause all processes while they hold tokens, until an operator has swept their leases and maybe reset."""
        async with self._all_paused_with_holds(clients):
            held = True
            while held:
                await asyncio.sleep(0.1)
                held = any([await self.look(client) for client in clients])
            if resets:
                self.proxy.strike(rng.choice(["lose", "late", "throttle", "pass"]), operation="TransactWriteItems")
                resets_of = (partial(self.operator.reset, client.account, NEMESIS) for client in clients)
                await asyncio.gather(*(insisted(reset) for reset in resets_of))
                await self.proxy.release()

    @asynccontextmanager
    async def _all_paused_with_holds(self, clients: list[Client]) -> AsyncIterator[None]:
        """Inside, no process moves: what is on hold then, stays so until it expires."""
        try:
            for _ in range(ATTEMPTS):
                for worker in self.workers:
                    worker.send(signal.SIGSTOP)
                if any([await self.look(client) for client in clients]):
                    break
                for worker in self.workers:
                    worker.send(signal.SIGCONT)
                await asyncio.sleep(0.05)
            yield
        finally:
            for worker in self.workers:
                worker.send(signal.SIGCONT)

    async def _set_quota(self, client: Client, rng: random.Random) -> None:
        """Set another quota two times, and lose or delay some of the answers."""
        for factor in (rng.choice([0.5, 1.5]), rng.choice([0.5, 1, 3])):
            self.proxy.strike(rng.choice(["lose", "late", "throttle", "pass"]), operation="TransactWriteItems")
            quota = int(client.quotas[0] * factor)
            client.quotas.append(quota)
            await self._operate("PUT", "quota", client, rng.choice(self.workers), {"max_quota": quota})
            await self.proxy.release()

    async def _operate(self, method: str, path: str, client: Client, worker: Worker, body: object = None) -> None:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        url, query = f"{worker.url}/v1/admin/client/{path}", client.account._asdict()
        with suppress(TimeoutError, aiohttp.ClientError):
            async with self.session.request(method, url, params=query, json=body, headers=headers) as response:
                await response.read()
