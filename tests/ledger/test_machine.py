"""The real ledgers of several processes on one store, driven by a machine that decides what becomes of every call.

A process here is a real `Ledger`, with its loops, outbox and sweeper. Only the store is `memory_store`, and time is
the machine's: nothing really waits. Here is what can happen; tests/harness has the machine, and what must hold. Faults
are counted budgets, by kind.
"""

import logging
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize
from hypothesis.stateful import run_state_machine_as_test as run

from gptdock.ledger import backoff, lease_state, verbs
from gptdock.ledger.book import Change
from tests.harness import branches
from tests.harness.ledger_process import ACCOUNT
from tests.harness.machine import DAY, EXPIRY, FATES, GATHERED, RENEWAL, RETENTION, Machine, happens, pick
from tests.harness.memory_store import Call, Key, Tables

MOST_PROCESSES, MOST_REQUESTS = 3, 6
FAULTS = {
    "kill": 2,
    "pause": 2,
    "leave": 4,
    "release": 3,
    "forget": 3,
    "sweep": 3,
    "clock": 4,
    "sleep": 1,
    "operator": 4,
    "expiry": 6,
    "retention": 2,
    "day": 1,
}
SKEWS = [0, *range(-240, 241, 40), -DAY, -RETENTION, RETENTION, DAY]  # seconds that a machine's clock is ahead
ANY = st.integers(0, 11)  # one of what there is


class Schedules(Machine):
    """What can happen to processes, their requests and their calls."""

    @initialize(
        default_max=st.sampled_from([40, 80, 150]),
        skews=st.lists(st.sampled_from(SKEWS), min_size=1, max_size=MOST_PROCESSES),
        is_known=st.booleans(),
        most_receipts=st.sampled_from([2, 5, 99]),
        faults=st.fixed_dictionaries({kind: st.integers(0, most) for kind, most in FAULTS.items()}),
    )
    def starts(self, default_max, skews, is_known, most_receipts, faults):
        self.faults, self.tables.most_receipts = faults, most_receipts
        if is_known:
            self.tables.open((ACCOUNT, "2026-11-23"), None, default_max)
        self.default_max = default_max
        for skew in skews:
            self.do(self.start_process)
            self.living()[-1].skew = skew

    # -- requests ----------------------------------------------------------------------------------------------------
    @happens(when=lambda self: len(self.present()) < MOST_REQUESTS, process=ANY, prompt_tokens=st.integers(0, 9))
    def asks_for_a_short_answer(self, process, prompt_tokens):
        self.ask(process, prompt_tokens, 5)

    @happens(when=lambda self: len(self.present()) < MOST_REQUESTS, process=ANY, completion_tokens=st.integers(17, 60))
    def asks_for_a_long_answer(self, process, completion_tokens):
        self.ask(process, 1, completion_tokens)

    @happens(when=lambda self: self.open_requests(), request=ANY, tokens=st.integers(1, 20))
    def generates(self, request, tokens):
        request = pick(self.open_requests(), request)
        request.generated = min(request.generated + tokens, request.hold.tokens)

    @happens(
        when=lambda self: self.open_requests(),
        request=ANY,
        more=st.sampled_from([-1000, -1, 0, 5]),
        later=st.booleans(),
    )
    def ends_with_usage_below_at_or_above_its_hold(self, request, more, later):
        request = pick(self.open_requests(), request)
        self.do(request.settle, max(0, request.hold.tokens + more), later=later)

    @happens(when=lambda self: self.open_requests(), request=ANY)
    def ends_with_what_was_generated(self, request):
        request = pick(self.open_requests(), request)
        self.do(request.settle, request.generated)

    @happens("release", when=lambda self: self.open_requests(), request=ANY)
    def is_released(self, request):
        self.do(pick(self.open_requests(), request).release)

    @happens("leave", when=lambda self: self.present(), request=ANY)
    def caller_leaves(self, request):
        self.do(pick(self.present(), request).leave)

    @happens("leave", when=lambda self: self.present(), request=ANY, passes=st.integers(0, 4))
    def caller_leaves_just_when_a_call_is_answered(self, request, passes):
        request = pick(self.present(), request)
        for call in self.calls()[:1]:
            self.tables.decide(call, "answered")
        self.pass_turns(passes)
        self.do(request.leave if request in self.present() else lambda: None)

    # -- calls -------------------------------------------------------------------------------------------------------
    @happens()
    def goes_on(self):
        pass

    @happens(when=lambda self: self.calls(), call=ANY, fate=st.sampled_from(FATES))
    def goes_on_out_of_turn(self, call, fate):
        self.do(self.tables.decide, pick(self.calls(), call), fate)

    @happens(when=lambda self: self.tables.late, call=ANY)
    def arrives_late(self, call):
        self.do(self.tables.arrive, pick(self.tables.late[::-1], call))

    # -- processes ---------------------------------------------------------------------------------------------------
    @happens("kill", process=ANY, late=st.booleans())
    def dies_and_another_takes_its_place(self, process, late):
        self.kill(pick(self.living(), process), late=late)
        self.do(self.start_process)

    @happens("pause", process=ANY)
    def is_paused(self, process):
        pick(self.living(), process).is_paused = True

    @happens(when=lambda self: any(process.is_paused for process in self.living()))
    def all_resume(self):
        for process in self.living():
            process.is_paused = False

    @happens("sweep", when=lambda self: self.tables.books, first=ANY, second=ANY, key=ANY)
    def two_sweep_at_once(self, first, second, key):
        for process in {first % len(self.living()), second % len(self.living())}:
            self.look(process, key)

    @happens("forget", process=ANY)
    def forgets_idle_books(self, process):
        books = pick(self.living(), process).ledger._books
        for key in [key for key, book in books.items() if book.idle]:
            del books[key]

    @happens("clock", process=ANY, skew=st.sampled_from(SKEWS))
    def has_a_wrong_clock(self, process, skew):
        pick(self.living(), process).skew = skew

    @happens("sleep", process=ANY)
    def is_suspended_with_its_machine(self, process):
        pick(self.living(), process).slept += EXPIRY
        self.loop.now += EXPIRY

    # -- the rest of the world ---------------------------------------------------------------------------------------
    @happens()
    def settles_and_receipts_are_due(self):
        self.wait(GATHERED)

    @happens(when=lambda self: self.open_requests())
    def renewals_are_due(self):
        self.wait(RENEWAL)

    @happens("expiry", when=lambda self: self.tables.books, process=ANY, key=ANY)
    def leases_expire_and_a_process_looks(self, process, key):
        self.wait(EXPIRY)
        self.look(process, key)

    @happens("retention", when=lambda self: self.tables.books, process=ANY, key=ANY)
    def retention_ends_and_a_process_looks(self, process, key):
        self.wait(RETENTION)
        self.look(process, key)

    @happens("day")
    def period_ends(self):
        self.wait(DAY)

    @happens("operator", when=lambda self: self.tables.books, key=ANY, by=st.sampled_from([60, -5, -60]))
    def operator_sets_the_quota_twice(self, key, by):
        self.set_max(pick(list(self.tables.books), key), by)

    @happens("operator", when=lambda self: self.late_holds())
    def operator_gives_room_to_a_late_hold(self):
        call, key = self.late_holds()[-1]
        self.set_max(key, 60)
        self.do(self.tables.arrive, call)

    @happens("operator", when=lambda self: self.tables.books, key=ANY, is_rivalled=st.booleans())
    def operator_resets_twice(self, key, is_rivalled):
        key = pick(list(self.tables.books), key)
        if is_rivalled:  # by another one, who read the same book, and is late
            self.change(key, self._reset(key), "late")
        self._reset_twice(key)

    @happens("operator", when=lambda self: _swept(self.tables))
    def operator_resets_over_a_swept_lease(self):
        self._reset_twice(_swept(self.tables)[0])

    @happens(when=lambda self: _late_changes(self) and _swept(self.tables))
    def late_changes_arrive_over_a_swept_lease(self):
        for call in _late_changes(self):
            self.do(self.tables.arrive, call)

    def _reset_twice(self, key: Key) -> None:
        self.change(key, self._reset(key))

    def _reset(self, key: Key) -> Change:
        return verbs.reset(self.tables.books[key], self.new_receipt(), int(self.loop.now))


def _swept(tables: Tables) -> list[Key]:
    """Books with a swept lease whose will may be taken back."""
    wills = [
        (key, lease.will) for key, book in tables.books.items() for lease in book.leases.values() if lease.number < 0
    ]
    return [key for key, will in wills if will > 0]


def _late_changes(machine: Machine) -> list[Call]:
    return [call for call in machine.tables.late if call.store is machine.operator]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """Nothing waits for real, and a lease is soon full of receipts."""
    monkeypatch.setattr(backoff, "random", SimpleNamespace(uniform=lambda least, most: 0))
    monkeypatch.setattr(lease_state, "MOST_RECEIPTS", 3)
    caplog.set_level(logging.ERROR, "gptdock")


def test_no_schedule_of_calls_and_faults_breaks_a_promise():
    run(
        Schedules,
        settings=settings(
            max_examples=200,
            stateful_step_count=80,
            derandomize=True,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )

    assert Schedules.reached.keys() >= branches.ALL
