"""A machine that drives the real ledgers of several processes: it moves their time, and decides the fate of each call.

`happens` makes a rule of what a test lets happen. Faults are counted budgets, by kind. After each step the promises are
checked; each example is brought to rest at its end.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gptdock.ledger import verbs
from gptdock.ledger.book import Change, Lease, Receipt
from gptdock.ledger.book_loop import SETTLE_SECONDS
from gptdock.ledger.outbox import GATHER_SECONDS
from tests.harness import branches
from tests.harness.ledger_process import PASSES, Process, Request, cancelled
from tests.harness.machine_promises import (
    wrong,
    wrong_at_rest,
    wrong_when_settled,
    wrongly_applied,
    wrongly_dated,
    wrongly_denied,
    wrongly_willed,
)
from tests.harness.memory_store import Call, Key, MemoryStore, Sent, Tables

NOON = 1795435200  # 2026-11-23T12:00:00Z
RENEWAL, EXPIRY, RETENTION, DAY = 1, 75, 3700, 86_400  # seconds; each is past what it is named after
GATHERED = max(SETTLE_SECONDS, GATHER_SECONDS) + 0.01
FATES = ["answered", "answered", "answered", "applied", "lost", "dropped", "late"]
Thing = TypeVar("Thing")


class MachineLoop(asyncio.SelectorEventLoop):
    """A loop whose time stands until the machine moves it."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Errors(logging.Handler):
    """What the ledger logs as an error: it must never."""

    def __init__(self, bad: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.bad = bad

    def emit(self, record: logging.LogRecord) -> None:
        self.bad.append(f"{record.getMessage()}: {record.exc_info and record.exc_info[1]!r}")


class Machine(RuleBasedStateMachine):
    """Processes on one store; a subclass has the rules of what can happen to them."""

    reached: ClassVar[Counter[str]] = Counter()  # rare branches, by how often all examples took them

    def __init__(self) -> None:
        super().__init__()
        self.loop = MachineLoop()
        self.loop.set_exception_handler(lambda _, context: self.bad.append(str(context)))
        self.bad: list[str] = []
        self.errors = Errors(self.bad)
        logging.getLogger("gptdock").addHandler(self.errors)
        self.tables = Tables(lambda: NOON + self.loop.now, reached=self.reached)
        self.operator = MemoryStore(self.tables)
        self.changes: list[asyncio.Task[bool]] = []
        self.processes: dict[str, Process] = {}
        self.faults: dict[str, int] = {}
        self.default_max = self.asked = 0
        self.is_resting = False

    @invariant()
    def promises_hold(self) -> None:
        self.bad += wrong(self.tables, self.living())
        assert not self.bad, self.bad

    def teardown(self) -> None:
        try:
            if self.processes and not self.bad:
                self._come_to_rest()
                self._arrive(lambda call: True)
                self._come_to_rest()
        finally:
            self._close()

    def _come_to_rest(self) -> None:
        """Without faults from here on: all is answered, renewed and ended, and a new process sweeps the rest."""
        self.tables.most_receipts = 99
        for process in self.living():
            process.is_paused = False
        self._answer_all()
        self.wait(RENEWAL)
        self._answer_all()
        self.bad += wrongly_willed(self.tables, self.living())
        for request in self.open_requests():
            self.do(request.settle, request.generated)
        self._answer_all()
        self.is_resting = True
        # Later, the leases that these calls are for are gone.
        self._arrive(lambda call: call.sent and call.sent.write.expected_number is not None)
        self._answer_all()
        self.bad += wrong_when_settled(self.tables, self.living())
        self.do(self.start_process)
        for _ in range(3):
            self.wait(3 * RETENTION)
            for key in range(len(self.tables.books)):
                self.look(-1, key)
            self._answer_all()
        self.bad += wrong_at_rest(self.tables, self.processes.values())
        self.promises_hold()

    def _arrive(self, which: Callable[[Call], object]) -> None:
        for call in [call for call in self.tables.late if which(call)]:
            self.do(self.tables.arrive, call)

    def _answer_all(self) -> None:
        for _ in range(1000):
            if not self.tables.calls and not self.open_requests():
                self.wait(GATHERED)  # then no renewal is due
            if not self.tables.calls:
                return
            self.do(self.tables.decide, self.tables.calls[0], "answered")
        self.bad.append("never comes to rest")

    def ask(self, process: int, prompt_tokens: int, completion_tokens: int) -> None:
        self.asked += 1
        self.do(pick(self.living(), process).ask, f"r{self.asked}", prompt_tokens, completion_tokens)

    def look(self, process: int, key: int) -> None:
        self.do(pick(self.living(), process).read, pick(list(self.tables.books), key))

    def _meet(self, fate: str) -> None:
        for call in self.calls()[:1]:
            self.do(self.tables.decide, call, fate)

    def start_process(self) -> None:
        process = Process(self.tables, self.default_max)
        self.processes[process.ledger.process] = process

    def kill(self, process: Process, *, late: bool) -> None:
        self.do(process.kill)
        for call in [call for call in self.tables.calls if call.store is process.store]:
            self.tables.decide(call, "late" if late else "dropped")

    def set_max(self, key: Key, by: int) -> None:
        most = self.tables.books[key].max
        self.change(key, verbs.set_max(most, max(0, most + by), self.new_receipt()))

    def change(self, key: Key, change: Change, *fates: str) -> None:
        """Sent once for each of these fates; without any, twice: the first time it is applied at once."""
        for fate in fates or ("lost", None):
            self.do(lambda: self.changes.append(asyncio.create_task(self.operator.change(*key, change))))
            if fate:
                self.do(self.tables.decide, self.tables.calls[-1], fate)

    def new_receipt(self) -> Receipt:
        return Receipt(f"change#{len(self.changes)}", 0, 0, 0, "-", "-", "set_quota", "change", "-")

    def living(self) -> list[Process]:
        return [process for process in self.processes.values() if process.lives]

    def present(self) -> list[Request]:
        return [r for process in self.living() for r in process.requests if not (r.task.done() or r.ended.done())]

    def open_requests(self) -> list[Request]:
        return [request for request in self.present() if request.is_open]

    def calls(self) -> list[Call]:
        """Those that can be decided: who is paused neither sends nor hears."""
        paused = [process.store for process in self.living() if process.is_paused]
        return [call for call in self.tables.calls if call.store not in paused]

    def late_holds(self) -> list[tuple[Call, Key]]:
        calls = [(call, call.sent) for call in self.tables.late if call.sent]
        return [(call, sent.key) for call, sent in calls if sent.write.new_holds and sent.key in self.tables.books]

    def do(self, act: Callable[..., None], *args: object, **options: object) -> None:
        async def acting() -> None:
            act(*args, **options)

        self.loop.run_until_complete(acting())
        self.pass_turns(PASSES)
        self._note()

    def wait(self, seconds: float) -> None:
        self.loop.now += seconds
        self.do(lambda: None)

    def pass_turns(self, passes: int) -> None:
        async def passing() -> None:
            for _ in range(passes):
                await asyncio.sleep(0)

        self.loop.run_until_complete(passing())

    def _note(self) -> None:
        """What was applied and who was denied, and what the commits know that are on their way."""
        for process in self.living():
            self.bad += wrongly_denied(process)
            process.looked()
            self.reached.update([branches.SHUT_OUT] * process.shuts_out)
        for applied in self.tables.applied:
            self.bad += wrongly_applied(applied, self.tables.now())
            self.processes[applied.write.process].learn(applied, is_excused=not self.is_resting)
        self.tables.applied.clear()
        for call in self.tables.calls:
            if call.sent and call.sent.write.lease:
                self._note_commit(self.processes[call.sent.write.process], call.sent, call.sent.write.lease)

    def _note_commit(self, process: Process, sent: Sent, lease: Lease) -> None:
        """What it knows, when it is first sent."""
        if (sent.key, lease.number) not in process.levels:
            process.levels[sent.key, lease.number] = {request: request.told for request in process.requests}
            self.bad += wrongly_dated(process, lease, sent.key[1], self.tables.now())

    def _close(self) -> None:
        logging.getLogger("gptdock").removeHandler(self.errors)
        self.loop.run_until_complete(cancelled([*asyncio.all_tasks(self.loop), *self.changes]))
        self.loop.close()


def happens(fault: str = "", when: Callable[["Machine"], object] = bool, **strategies: Any) -> Callable[[Any], Any]:
    """A rule, after which the first calls that wait meet their fates; a fault happens as often as its budget says."""

    def decorate(act: Callable[..., None]) -> Any:
        @wraps(act)
        def step(self: "Machine", fates: list[str], **options: object) -> None:
            if fault:
                self.faults[fault] -= 1
            act(self, **options)
            for fate in fates:
                self._meet(fate)

        may = precondition(lambda self: bool(when(self)) and (not fault or self.faults.get(fault, 0) > 0))
        return may(rule(fates=st.lists(st.sampled_from(FATES), max_size=4), **strategies)(step))

    return decorate


def pick(things: Sequence[Thing], index: int) -> Thing:
    return things[index % len(things)]
