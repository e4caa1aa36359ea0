"""One stream of one client, second by second: what its process would be charged for it if it were killed now.

The ledger is real, on a `MemoryStore` that answers at once; time is the loop's, and moved by hand.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

from gptdock.accounts import Account
from gptdock.ledger.clock import Clock
from gptdock.ledger.holds import Claim, Hold, Ledger
from gptdock.ledger.store import Store
from tests.harness.ledger_process import PASSES, cancelled
from tests.harness.machine import NOON, MachineLoop
from tests.harness.memory_store import MemoryStore, Tables
from tests.harness.service import NOBODY, make_settings

PROMPT_TOKENS = 44
STEP_SECONDS = 0.0625  # a power of two, so that the loop's time is exact


class Moment(NamedTuple):
    """After so many seconds: what was generated, what a kill would charge, and how many writes there were."""

    seconds: float
    spent: int
    charged: int
    writes: int


@dataclass
class LoneStream:
    """A stream of so many tokens a second, after its first event came, with a hold of at most `most` more than its
    prompt. `learn` may teach the ledger about its model before.
    """

    tokens_per_second: float
    most: int = 1000
    first_event_seconds: float = 0.5
    learn: Callable[[Ledger], None] = lambda ledger: None

    def watch(self, seconds: float) -> Iterator[Moment]:
        """What a kill would cost, STEP_SECONDS after STEP_SECONDS from when the hold is in the book."""
        self.loop, self.tasks = MachineLoop(), list[asyncio.Task[None]]()
        self.counted = Counter[int]()  # how often the text was counted of each stream, in their order
        self.tables = Tables(lambda: NOON + self.loop.now)
        settings = make_settings("http://127.0.0.1:1", NOBODY)
        try:
            store = MemoryStore(self.tables, Clock(steady=self.tables.now))
            self.ledger = Ledger(cast(Store, store), settings)
            self.learn(self.ledger)
            self.ask()
            while self.loop.now <= seconds:
                yield Moment(self.loop.now, self.spent, self.charged, len(self.tables.applied))
                self.loop.now += STEP_SECONDS
                self._do(lambda: None)
        finally:
            while tasks := asyncio.all_tasks(self.loop):  # a hold that is cancelled wakes the loop of its book
                self.loop.run_until_complete(cancelled([*tasks]))
            self.loop.close()

    def ask(self) -> None:
        """Ask for the stream, or for another one beside it."""

        def asking() -> None:
            self.tasks.append(asyncio.create_task(self._ask(self.ledger.hold(claim))))

        claim = Claim(Account("c1", "p1"), "user", "model", "r", PROMPT_TOKENS, self.most)
        self._do(asking)

    @property
    def spent(self) -> int:
        """The tokens of the prompt and of the text by now, at most the hold."""
        return min(PROMPT_TOKENS + int(self.tokens_per_second * self._text_seconds), PROMPT_TOKENS + 8 + self.most)

    @property
    def charged(self) -> int:
        """What the book says to charge if the process were lost now."""
        [book] = self.tables.books.values()
        [lease] = book.leases.values()
        return lease.will

    @property
    def _text_seconds(self) -> float:
        return max(0.0, self.loop.now - self.first_event_seconds)

    async def _ask(self, hold: Hold) -> None:
        number = len(self.tasks) - 1

        def count_used() -> int:
            self.counted[number] += 1
            if text_tokens := self.spent - PROMPT_TOKENS:
                hold.pace.note(text_tokens, self._text_seconds)
            return PROMPT_TOKENS + text_tokens

        async with hold:
            hold.count_used = count_used
            await asyncio.get_running_loop().create_future()

    def _do(self, act: Callable[[], None]) -> None:
        async def acting() -> None:
            act()
            for _ in range(PASSES):
                await asyncio.sleep(0)
                for call in [*self.tables.calls]:
                    self.tables.decide(call, "answered")

        self.loop.run_until_complete(acting())
