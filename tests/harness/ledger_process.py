"""Processes for the `machine` of the ledger: real ledgers, each on its own `MemoryStore`, with requests to steer."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from gptdock.accounts import Account
from gptdock.errors import ClientNotFound, LedgerUnavailable, QuotaExceeded
from gptdock.ledger import periods
from gptdock.ledger.book import Demand
from gptdock.ledger.charges import Charge
from gptdock.ledger.clock import Clock
from gptdock.ledger.holds import Claim, Hold, Ledger
from gptdock.ledger.store import Store
from tests.harness.ledgers import learn
from tests.harness.memory_store import Applied, Key, MemoryStore, Tables
from tests.harness.service import NOBODY, make_settings
from tests.harness.world import verb

ACCOUNT = Account("c1", "p1")
PASSES = 30  # of the loop, after which nothing is ready
BOOTED = 1795000000  # when the steady clocks began, in Unix seconds
ALLOWANCE = 10  # tokens that a will adds: PROGRESS_SECONDS x 200, as it has learned


class Request:
    """One request: what it used in truth, and what its process was told of that."""

    def __init__(self, process: "Process", claim: Claim) -> None:
        self.process, self.claim = process, claim
        self.key: Key = (claim.account, periods.current("day", process.store.tables.now()))
        self.hold: Hold | None = None
        self.generated, self.told = 0, claim.prompt_tokens
        self.is_settled = False
        self.is_final = False  # its lease was removed while its process was away: what the will said stays
        self.ended = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run())

    @property
    def demand(self) -> Demand:
        return Demand.of(self.claim.prompt_tokens, self.claim.completion_tokens)

    @property
    def is_open(self) -> bool:
        return self.hold is not None and not self.ended.done() and not self.task.done()

    def settle(self, tokens: int, *, later: bool = False) -> None:
        assert self.hold is not None
        self.is_settled, self.generated = True, tokens
        charge = Charge(tokens, 0, tokens, "upstream")
        if later:
            self.hold.settle_later(_counted(charge), "complete")
        else:
            self.hold.settle(charge, "complete")
        self.ended.set_result(None)

    def release(self) -> None:
        self.generated = 0
        self.ended.set_result(None)

    def leave(self) -> None:
        """Its caller hangs up: what it holds by then is released."""
        self.generated = 0
        self.process.left.append(self)
        self.task.cancel()

    def count_used(self) -> int:
        self.told = self.generated
        return self.told

    async def _run(self) -> None:
        try:
            async with self.process.ledger.hold(self.claim) as hold:
                self.hold, self.generated, hold.count_used = hold, self.claim.prompt_tokens, self.count_used
                await self.ended
        except QuotaExceeded:
            self.process.denied.append(self)
        except LedgerUnavailable:
            return


async def _counted(charge: Charge) -> Charge:
    await asyncio.sleep(0)
    return charge


class Process:
    """A ledger on its own store, on a machine whose clock is `skew` seconds ahead, and whose steady clock stood still
    for `slept` seconds.
    """

    def __init__(self, tables: Tables, default_max: int) -> None:
        settings = make_settings(
            "http://127.0.0.1:1",
            NOBODY,
            default_token_quota=default_max,
            quota_period="day",
            progress_seconds=ALLOWANCE / 200,
            reserve_timeout=1000,
        )
        self.skew = self.slept = 0
        self.is_paused, self.started_at = False, tables.now()
        clock = Clock(lambda: tables.now() + self.skew, lambda: tables.now() - self.slept - BOOTED)
        self.store = MemoryStore(tables, clock)
        self.ledger = Ledger(cast(Store, self.store), settings)
        learn(self.ledger, 200)
        self.requests: list[Request] = []
        self.denied: list[Request] = []  # since the machine looked
        self.left: list[Request] = []  # the same
        self.tasks = [asyncio.create_task(self._live())]
        self.levels: dict[tuple[Key, int], Mapping[Request, int]] = {}  # what each commit knew to be used
        self.covered: dict[Key, Mapping[Request, int]] = {}  # the same, of the last commit applied
        self.away: set[Key] = set()  # its swept lease was removed, and it lived

    @property
    def lives(self) -> bool:
        return not self.store.cut

    @property
    def shuts_out(self) -> bool:
        """Whether it is replacing a commit of which an attempt was lost."""
        return any(book._state.replaced for book in self.ledger._books.values())

    def looked(self) -> None:
        """The machine has looked at what happened."""
        self.denied.clear()
        self.left.clear()

    def ask(self, request_id: str, prompt_tokens: int, completion_tokens: int, account: Account = ACCOUNT) -> None:
        claim = Claim(account, "user", "model", request_id, prompt_tokens, completion_tokens)
        self.requests.append(Request(self, claim))

    def read(self, key: Key) -> None:
        self.tasks.append(asyncio.create_task(self._read(key)))

    def kill(self) -> None:
        self.store.cut = True
        for task in [*self.tasks, *(request.task for request in self.requests)]:
            task.cancel()

    def learn(self, applied: Applied, *, is_excused: bool) -> None:
        """A write to its lease reached the book."""
        key, write = applied.key, applied.write
        if write.lease and write.lease.number > 0:
            self.covered[key] = self.levels[key, write.lease.number]
        elif verb(write) == "remove" and applied.before.leases[write.process].number < 0 and is_excused and self.lives:
            self.away.add(key)
            for request in self.requests:
                request.is_final |= request.key == key

    async def _live(self) -> None:
        async with self.ledger.running():
            await asyncio.get_running_loop().create_future()

    async def _read(self, key: Key) -> None:
        with suppress(ClientNotFound, LedgerUnavailable):
            await self.ledger.read(*key)


async def cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
