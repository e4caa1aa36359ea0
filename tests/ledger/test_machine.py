"""The real ledgers of several processes on one store, driven by a machine that decides what becomes of every call.

A process here is a `Ledger` as it is, with its loops, outbox and sweeper. Only the store is `memory_store`, and time is
the machine's: nothing waits for real. After each step the promises are checked; each example is brought to rest at its
end, and what was charged is compared with what was generated. Faults are counted budgets, by kind.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from gptdock.accounts import Account
from gptdock.errors import ClientNotFound, LedgerUnavailable, QuotaExceeded
from gptdock.ledger import backoff, holds, lease_state, verbs
from gptdock.ledger.book import Book, Change, Lease, Receipt
from gptdock.ledger.charges import Charge
from gptdock.ledger.holds import Claim, Hold, Ledger
from gptdock.ledger.store import Store
from tests.harness.memory_store import Applied, Call, Key, MemoryStore, Tables
from tests.harness.service import NOBODY, make_settings
from tests.harness.world import verb

NOON = 1795435200  # 2026-11-23T12:00:00Z
ACCOUNT = Account("c1", "p1")
ALLOWANCE = 10  # tokens that a will adds: PROGRESS_SECONDS x 200
RENEWAL, EXPIRY, RETENTION, DAY = 1, 75, 3700, 86_400  # seconds; each is past what it is named after
MOST_PROCESSES, MOST_REQUESTS = 3, 6
FAULTS = {
    "kill": 2,
    "pause": 2,
    "leave": 4,
    "release": 3,
    "forget": 3,
    "sweep": 3,
    "clock": 2,
    "operator": 4,
    "expiry": 6,
    "retention": 2,
    "day": 1,
}
ANY = st.integers(0, 11)  # one of what there is
FATES = ["answered", "answered", "answered", "applied", "lost", "dropped", "late"]
PASSES = 30  # of the loop, after which nothing is ready
Thing = TypeVar("Thing")


class MachineLoop(asyncio.SelectorEventLoop):
    """A loop whose time stands until the machine moves it."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Request:
    """One request: what it used in truth, and what its process was told of that."""

    def __init__(self, process: "Process", claim: Claim) -> None:
        self.process, self.claim = process, claim
        self.key: Key = (claim.account, process.ledger.period())
        self.hold: Hold | None = None
        self.generated, self.told = 0, claim.prompt_tokens
        self.is_settled = False
        self.is_final = False  # its lease was removed while its process was away: what the will said stays
        self.ended = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run())

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
        self.task.cancel()

    def count_used(self) -> int:
        self.told = self.generated
        return self.told

    async def _run(self) -> None:
        with suppress(QuotaExceeded, LedgerUnavailable):
            async with self.process.ledger.hold(self.claim) as hold:
                self.hold, self.generated, hold.count_used = hold, self.claim.prompt_tokens, self.count_used
                await self.ended


async def _counted(charge: Charge) -> Charge:
    await asyncio.sleep(0)
    return charge


class Process:
    """A ledger on its own store, with a clock that may be wrong."""

    def __init__(self, tables: Tables, default_max: int, clock: Callable[[], float]) -> None:
        settings = make_settings(
            "http://127.0.0.1:1",
            NOBODY,
            default_token_quota=default_max,
            quota_period="day",
            progress_seconds=ALLOWANCE / 200,
            reserve_timeout=1000,
        )
        self.skew = 0
        self.is_paused = False
        self.store = MemoryStore(tables)
        self.clock = lambda: clock() + self.skew
        self.ledger = Ledger(cast(Store, self.store), settings, self.clock)
        self.requests: list[Request] = []
        self.tasks = [asyncio.create_task(self._live())]
        self.levels: dict[tuple[Key, int], Mapping[Request, int]] = {}  # what each commit knew to be used
        self.covered: dict[Key, Mapping[Request, int]] = {}  # the same, of the last commit applied
        self.away: set[Key] = set()  # its swept lease was removed, and it lived

    @property
    def lives(self) -> bool:
        return not self.store.cut

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


class Errors(logging.Handler):
    """What the ledger logs as an error: it must never."""

    def __init__(self, bad: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.bad = bad

    def emit(self, record: logging.LogRecord) -> None:
        self.bad.append(f"{record.getMessage()}: {record.exc_info and record.exc_info[1]!r}")


def happens(fault: str = "", when: Callable[["World"], object] = bool, **strategies: Any) -> Callable[[Any], Any]:
    """A rule, after which the first calls that wait meet their fates; a fault happens as often as its budget says."""

    def decorate(act: Callable[..., None]) -> Any:
        @wraps(act)
        def step(self: "World", fates: list[str], **options: object) -> None:
            if fault:
                self.faults[fault] -= 1
            act(self, **options)
            for fate in fates:
                self._meet(fate)

        may = precondition(lambda self: bool(when(self)) and (not fault or self.faults.get(fault, 0) > 0))
        return may(rule(fates=st.lists(st.sampled_from(FATES), max_size=4), **strategies)(step))

    return decorate


class World(RuleBasedStateMachine):
    """Processes on one store; the rules are what can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = MachineLoop()
        self.loop.set_exception_handler(lambda _, context: self.bad.append(str(context)))
        self.bad: list[str] = []
        self.errors = Errors(self.bad)
        logging.getLogger("gptdock").addHandler(self.errors)
        self.tables = Tables()
        self.operator = MemoryStore(self.tables)
        self.changes: list[asyncio.Task[bool]] = []
        self.processes: dict[str, Process] = {}
        self.faults: dict[str, int] = {}
        self.asked = 0
        self.is_resting = False

    @initialize(
        default_max=st.sampled_from([40, 80, 150]),
        skews=st.lists(st.sampled_from([0, 0, 0, -EXPIRY, -RETENTION]), min_size=1, max_size=MOST_PROCESSES),
        is_known=st.booleans(),
        faults=st.fixed_dictionaries({kind: st.integers(0, most) for kind, most in FAULTS.items()}),
    )
    def starts(self, default_max, skews, is_known, faults):
        self.faults = faults
        if is_known:
            self.tables.open((ACCOUNT, "2026-11-23"), None, default_max)
        self.default_max = default_max
        for skew in skews:
            self._do(self._start)
            self._living()[-1].skew = skew

    # -- requests ----------------------------------------------------------------------------------------------------
    @happens(when=lambda self: len(self._present()) < MOST_REQUESTS, process=ANY, prompt_tokens=st.integers(0, 9))
    def asks_for_a_short_answer(self, process, prompt_tokens):
        self._ask(process, prompt_tokens, 5)

    @happens(when=lambda self: len(self._present()) < MOST_REQUESTS, process=ANY, completion_tokens=st.integers(17, 60))
    def asks_for_a_long_answer(self, process, completion_tokens):
        self._ask(process, 1, completion_tokens)

    @happens(when=lambda self: self._open(), request=ANY, tokens=st.integers(1, 20))
    def generates(self, request, tokens):
        request = pick(self._open(), request)
        request.generated = min(request.generated + tokens, request.hold.tokens)

    @happens(when=lambda self: self._open(), request=ANY, more=st.sampled_from([-1000, -1, 0, 5]), later=st.booleans())
    def ends_with_usage_below_at_or_above_its_hold(self, request, more, later):
        request = pick(self._open(), request)
        self._do(request.settle, max(0, request.hold.tokens + more), later=later)

    @happens(when=lambda self: self._open(), request=ANY)
    def ends_with_what_was_generated(self, request):
        request = pick(self._open(), request)
        self._do(request.settle, request.generated)

    @happens("release", when=lambda self: self._open(), request=ANY)
    def is_released(self, request):
        self._do(pick(self._open(), request).release)

    @happens("leave", when=lambda self: self._present(), request=ANY)
    def caller_leaves(self, request):
        self._do(pick(self._present(), request).leave)

    @happens("leave", when=lambda self: self._present(), request=ANY, passes=st.integers(0, 4))
    def caller_leaves_just_when_a_call_is_answered(self, request, passes):
        request = pick(self._present(), request)
        for call in self._calls()[:1]:
            self.tables.decide(call, "answered")
        self._pass(passes)
        self._do(request.leave if request in self._present() else _nothing)

    # -- calls -------------------------------------------------------------------------------------------------------
    @happens()
    def goes_on(self):
        pass

    @happens(when=lambda self: self._calls(), call=ANY, fate=st.sampled_from(FATES))
    def goes_on_out_of_turn(self, call, fate):
        self._do(self.tables.decide, pick(self._calls(), call), fate)

    @happens(when=lambda self: self.tables.late, call=ANY)
    def arrives_late(self, call):
        self._do(self.tables.arrive, pick(self.tables.late[::-1], call))

    # -- processes ---------------------------------------------------------------------------------------------------
    @happens("kill", process=ANY, late=st.booleans())
    def dies_and_another_takes_its_place(self, process, late):
        self._kill(pick(self._living(), process), late=late)
        self._do(self._start)

    @happens("pause", process=ANY)
    def is_paused(self, process):
        pick(self._living(), process).is_paused = True

    @happens(when=lambda self: any(process.is_paused for process in self._living()))
    def all_resume(self):
        for process in self._living():
            process.is_paused = False

    @happens("sweep", when=lambda self: self.tables.books, first=ANY, second=ANY, key=ANY)
    def two_sweep_at_once(self, first, second, key):
        for process in {first % len(self._living()), second % len(self._living())}:
            self._look(process, key)

    @happens("forget", process=ANY)
    def forgets_idle_books(self, process):
        books = pick(self._living(), process).ledger._books
        for key in [key for key, book in books.items() if book.idle]:
            del books[key]

    @happens("clock", process=ANY, skew=st.sampled_from([-DAY, -RETENTION, -EXPIRY, 0, EXPIRY, RETENTION]))
    def has_a_wrong_clock(self, process, skew):
        pick(self._living(), process).skew = skew

    # -- the rest of the world ---------------------------------------------------------------------------------------
    @happens(when=lambda self: self._open())
    def renewals_are_due(self):
        self._wait(RENEWAL)

    @happens("expiry", when=lambda self: self.tables.books, process=ANY, key=ANY)
    def leases_expire_and_somebody_looks(self, process, key):
        self._wait(EXPIRY)
        self._look(process, key)

    @happens("retention", when=lambda self: self.tables.books, process=ANY, key=ANY)
    def retention_ends_and_somebody_looks(self, process, key):
        self._wait(RETENTION)
        self._look(process, key)

    @happens("day")
    def period_ends(self):
        self._wait(DAY)

    @happens("operator", when=lambda self: self.tables.books, key=ANY, by=st.sampled_from([60, -5, -60]))
    def operator_sets_the_quota_twice(self, key, by):
        self._set_max(pick(list(self.tables.books), key), by)

    @happens("operator", when=lambda self: self._late_holds())
    def operator_gives_room_to_a_late_hold(self):
        call, key = self._late_holds()[-1]
        self._set_max(key, 60)
        self._do(self.tables.arrive, call)

    @happens("operator", when=lambda self: self.tables.books, key=ANY)
    def operator_resets_twice(self, key):
        key = pick(list(self.tables.books), key)
        self._change(key, verbs.reset(self.tables.books[key].used, self._receipt()))

    # -- what must hold ----------------------------------------------------------------------------------------------
    @invariant()
    def promises_hold(self):
        self.bad += self._wrong()
        assert not self.bad

    def teardown(self):
        try:
            if self.processes and not self.bad:
                self._come_to_rest()
                self._arrive(lambda call: True)
                self._come_to_rest()
        finally:
            self._close()

    def _wrong(self) -> Iterator[str]:
        for key, book in self.tables.books.items():
            if book.left + book.used + book.held != book.max:
                yield f"left + used + held != max: {book}"
            if sum(receipt.tokens for receipt in self._receipts(key, book)) != book.used:
                yield f"receipts, put or in the book, do not sum to used: {book}"
            for _, lease, opened in self._admitted(key, book):
                held = sum(hold for hold, _ in opened)  # 0: settled, nothing to charge, so its empty lease may go
                if held and (lease is None or (lease.number > 0 and lease.held < held)):
                    yield f"admitted without its tokens in the book: {opened}, {lease}"

    def _wrongly_willed(self) -> Iterator[str]:
        for key, book in self.tables.books.items():
            for process, lease, opened in self._admitted(key, book):
                will = sum(min(hold, generated + ALLOWANCE) for hold, generated in opened)
                if lease and lease.number > 0 and (lease.will != will or lease.expires_at < process.clock()):
                    yield f"renewed: not the will of {opened}: {lease}"

    def _admitted(self, key: Key, book: Book) -> Iterator[tuple[Process, Lease | None, list[tuple[int, int]]]]:
        """Each living process with its lease, and hold and generated tokens of its requests that must be in it."""
        charged = {_request_id(receipt) for receipt in self._receipts(key, book)}
        for process in self._living():
            ours = [request for request in process.requests if request.key == key and not request.is_final]
            ours = [r for r in ours if r.is_open or (r.is_settled and r.claim.request_id not in charged)]
            if opened := [(_held(request.hold, request), request.generated) for request in ours if request.hold]:
                yield process, book.leases.get(process.ledger.process), opened

    def _receipts(self, key: Key, book: Book) -> Collection[Receipt]:
        """Put, or in the book."""
        in_book = {receipt.key: receipt for lease in book.leases.values() for receipt in lease.receipts}
        return {**self.tables.usage.get(key, {}), **in_book}.values()

    def _wrong_when_settled(self) -> Iterator[str]:
        for process in self._living():
            if process.ledger._tasks():
                yield "settled: a process is busy"
            for key, book in self.tables.books.items():
                lease = book.leases.get(process.ledger.process)
                put = self.tables.usage.get(key, {})
                if lease and (lease.held or any(receipt.key not in put for receipt in lease.receipts)):
                    yield f"settled: a process lives and leaves {lease}"

    def _wrong_at_rest(self) -> Iterator[str]:
        for key, book in self.tables.books.items():
            receipts = self.tables.usage.get(key, {}).values()
            if book.leases or book.held:
                yield f"at rest: still there: {book.leases}"
            if sum(receipt.tokens for receipt in receipts) != book.used:
                yield f"at rest: receipts do not sum to used: {book}"
            for process in self.processes.values():
                ours = [receipt for receipt in receipts if receipt.process == process.ledger.process]
                yield from _wrongly_charged(process, key, ours)

    # -- how it works ------------------------------------------------------------------------------------------------
    def _come_to_rest(self) -> None:
        """From here without faults: all is answered, renewed, ended, and the rest swept by somebody new."""
        for process in self._living():
            process.is_paused = False
        self._answer_all()
        self._wait(RENEWAL)
        self._answer_all()
        self.bad += self._wrongly_willed()
        for request in self._open():
            self._do(request.settle, request.generated)
        self._answer_all()
        self.is_resting = True
        self._arrive(
            lambda call: call.sent and call.sent.write.expected_number is not None
        )  # later, their lease is gone
        self._answer_all()
        self.bad += self._wrong_when_settled()
        self._do(self._start)
        for _ in range(3):
            self._wait(3 * RETENTION)
            for key in range(len(self.tables.books)):
                self._look(-1, key)
            self._answer_all()
        self.bad += self._wrong_at_rest()
        self.promises_hold()

    def _arrive(self, which: Callable[[Call], object]) -> None:
        for call in [call for call in self.tables.late if which(call)]:
            self._do(self.tables.arrive, call)

    def _answer_all(self) -> None:
        for _ in range(1000):
            if not self.tables.calls:
                return
            self._do(self.tables.decide, self.tables.calls[0], "answered")
        self.bad.append("never comes to rest")

    def _ask(self, process: int, prompt_tokens: int, completion_tokens: int) -> None:
        self.asked += 1
        self._do(pick(self._living(), process).ask, f"r{self.asked}", prompt_tokens, completion_tokens)

    def _look(self, process: int, key: int) -> None:
        self._do(pick(self._living(), process).read, pick(list(self.tables.books), key))

    def _meet(self, fate: str) -> None:
        for call in self._calls()[:1]:
            self._do(self.tables.decide, call, fate)

    def _start(self) -> None:
        process = Process(self.tables, self.default_max, lambda: NOON + self.loop.now)
        self.processes[process.ledger.process] = process

    def _kill(self, process: Process, *, late: bool) -> None:
        self._do(process.kill)
        for call in [call for call in self.tables.calls if call.store is process.store]:
            self.tables.decide(call, "late" if late else "dropped")

    def _set_max(self, key: Key, by: int) -> None:
        most = self.tables.books[key].max
        self._change(key, verbs.set_max(most, max(0, most + by), self._receipt()))

    def _change(self, key: Key, change: Change) -> None:
        """Sent twice: the first time it is applied at once."""
        for fate in ("lost", None):
            self._do(lambda: self.changes.append(asyncio.create_task(self.operator.change(*key, change))))
            if fate:
                self._do(self.tables.decide, self.tables.calls[-1], fate)

    def _receipt(self) -> Receipt:
        key = f"change#{len(self.changes)}"
        return Receipt(key, 0, 0, 0, "-", "-", "set_quota", "change", "-")

    def _living(self) -> list[Process]:
        return [process for process in self.processes.values() if process.lives]

    def _present(self) -> list[Request]:
        return [r for process in self._living() for r in process.requests if not (r.task.done() or r.ended.done())]

    def _open(self) -> list[Request]:
        return [request for request in self._present() if request.is_open]

    def _calls(self) -> list[Call]:
        """Those that can be decided: who is paused neither sends nor hears."""
        paused = [process.store for process in self._living() if process.is_paused]
        return [call for call in self.tables.calls if call.store not in paused]

    def _late_holds(self) -> list[tuple[Call, Key]]:
        calls = [(call, call.sent) for call in self.tables.late if call.sent]
        return [(call, sent.key) for call, sent in calls if sent.write.new_holds and sent.key in self.tables.books]

    def _do(self, act: Callable[..., None], *args: object, **options: object) -> None:
        async def acting() -> None:
            act(*args, **options)

        self.loop.run_until_complete(acting())
        self._pass(PASSES)
        self._note()

    def _wait(self, seconds: int) -> None:
        self.loop.now += seconds
        self._do(_nothing)

    def _pass(self, passes: int) -> None:
        async def passing() -> None:
            for _ in range(passes):
                await asyncio.sleep(0)

        self.loop.run_until_complete(passing())

    def _note(self) -> None:
        """What was applied, and what the commits know that are on their way."""
        for applied in self.tables.applied:
            self.bad += _wrongly_applied(applied)
            self.processes[applied.write.process].learn(applied, is_excused=not self.is_resting)
        self.tables.applied.clear()
        for call in self.tables.calls:
            if call.sent and call.sent.write.lease:
                process = self.processes[call.sent.write.process]
                told = {request: request.told for request in process.requests}
                process.levels.setdefault((call.sent.key, call.sent.write.lease.number), told)

    def _close(self) -> None:
        logging.getLogger("gptdock").removeHandler(self.errors)
        self.loop.run_until_complete(_cancelled([*asyncio.all_tasks(self.loop), *self.changes]))
        self.loop.close()


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _wrongly_applied(applied: Applied) -> Iterator[str]:
    if applied.write.new_holds and applied.after.left < 0:
        yield f"left < 0 by a hold: {applied}"
    if applied.write.used_by < 0 and verb(applied.write) != "revive":
        yield f"used fell: {applied}"


def _wrongly_charged(process: Process, key: Key, receipts: Sequence[Receipt]) -> Iterator[str]:
    charged = {_request_id(receipt): receipt.tokens for receipt in receipts if receipt.source == "upstream"}
    wills = sum(receipt.tokens for receipt in receipts if receipt.source != "upstream")
    requests = [request for request in process.requests if request.key == key and not request.is_final]
    for request in requests:
        tokens = charged.get(request.claim.request_id, 0 if process.lives else request.generated)
        if tokens != request.generated:
            yield f"at rest: {request.claim.request_id} is charged {tokens}, not {request.generated}"
    if key in process.away:
        return
    if process.lives and wills:
        yield f"at rest: a process lives, and wills of {wills} tokens are charged"
    unsettled = [request for request in requests if request.claim.request_id not in charged]
    if wills < sum(_covered(request) for request in unsettled):
        yield f"at rest: a dead process is charged {wills} for {[_covered(request) for request in unsettled]}"
    if wills > sum(max(request.told, request.generated) + ALLOWANCE for request in unsettled):
        yield f"at rest: a dead process is charged {wills}, more than its wills"


def _request_id(receipt: Receipt) -> str:
    return receipt.key.split("#")[1]


def _covered(request: Request) -> int:
    """What was generated, as far as the last commit could know of it."""
    if request.hold is None:
        return 0
    known = request.process.covered[request.key].get(request, 0) + ALLOWANCE
    return min(request.generated, request.hold.tokens, known)


def _nothing() -> None:
    pass


def _held(hold: Hold, request: Request) -> int:
    """Once it is settled, and only its receipt waits for room in the outbox, a request holds no more than it costs."""
    return min(hold.tokens, request.generated) if request.is_settled else hold.tokens


def pick(things: Sequence[Thing], index: int) -> Thing:
    return things[index % len(things)]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """Nothing waits for real, no upstream generates unseen, and a lease is soon full of receipts."""
    monkeypatch.setattr(backoff, "random", SimpleNamespace(uniform=lambda least, most: 0))
    monkeypatch.setattr(holds, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(lease_state, "MOST_RECEIPTS", 3)
    caplog.set_level(logging.ERROR, "gptdock")


def test_no_schedule_of_calls_and_faults_breaks_a_promise():
    run(
        World,
        settings=settings(
            max_examples=200,
            stateful_step_count=80,
            derandomize=True,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


async def test_another_client_is_served_while_all_remembered_books_are_busy(monkeypatch: pytest.MonkeyPatch):
    """As in an outage of DynamoDB, which leaves the book of each client that asked busy until it ends."""
    monkeypatch.setattr(holds, "MOST_BOOKS", 1)
    process = Process(Tables(), 100, lambda: NOON)
    process.ask("r1", 0, 5)
    process.ask("r2", 0, 5, Account("c2", "p1"))

    for _ in range(PASSES):
        await asyncio.sleep(0)

    try:
        assert [request.task.done() for request in process.requests] == [False, False], "they wait for the store"
    finally:
        await _cancelled([*process.tasks, *(request.task for request in process.requests)])
