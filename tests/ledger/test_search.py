"""The real `lease_state` and `verbs`, searched for a schedule that breaks a promise, with each rule and without it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from gptdock.ledger import lease_state, verbs
from gptdock.ledger.book import Book, Change, Lease, Receipt, Terms, Write
from gptdock.ledger.lease_state import LeaseState
from tests.harness import actions, branches, world
from tests.harness.promises import search, walk
from tests.harness.world import GUARDS, World, start

STEPS = 6_000  # of each random walk that must find nothing
STEPS_TO_A_FAULT = 2_000  # of each that must find something
SEEDS = range(24)
RARE = {branches.FENCE, branches.RESET}  # in walks; small worlds reach them
RESET = start([[(1, 1)]], 2, tick=1, change=1)  # a reset over a swept lease is too rare for a short walk
USED = Receipt("before", 1, 0, 0, "u", "m", "upstream", "complete", "-")
LATE = start([[(1, 1)]], 2, tick=1)._replace(  # with two resets under way, of which one may come much later
    book=Book(2, 1, 1),
    usage={USED.key: USED},
    ghosts=tuple(verbs.reset(Book(2, 1, 1), USED._replace(key=key, source="reset"), 4) for key in ("one", "another")),
)
FULL = [  # whose second receipt fits only once the first has left
    start([[(1, 1), (1, 1)]], 2, timeout=1)._replace(most_receipts=1),
    start([[(1, 1), (1, 1), (3, 1)]], 3)._replace(most_receipts=1),
]


@pytest.mark.parametrize("seed", range(4))
def test_no_schedule_breaks_a_promise(seed: int):
    reached = Counter[str]()

    assert walk(seed, STEPS, reached=reached) == ("", [])

    assert reached.keys() >= branches.ALL - RARE


@pytest.mark.parametrize("seed", range(4))
def test_no_schedule_breaks_a_promise_while_receipts_cannot_be_put(seed: int, monkeypatch: pytest.MonkeyPatch):
    """The charge of what ended and finds no room in its lease's outbox stays held, and in the will."""
    monkeypatch.setattr(lease_state, "MOST_RECEIPTS", 1)

    assert walk(seed, STEPS) == ("", [])


@pytest.mark.parametrize(
    ("first", "branch"),
    [
        (start([[(2, 1)], [(2, 1)]], 3), None),
        (start([[(1, 1)]], 1, tick=2, stray=1), branches.SWEPT),
        (start([[(1, 1)]], 2, change=1), None),
        (RESET, branches.RESET),
        (LATE, branches.REVIVED),
        (start([[(1, 1)], [(1, 1)]], 1, timeout=1), branches.SHUT_OUT),
        (start([[(1, 1)]], 1, timeout=1, tick=1), branches.REVIVED),
        (start([[(1, 1)]], 0, timeout=1, change=1, tick=1)._replace(wide=1), branches.SHUT_OUT),
        (start([[(1, 1)], [(1, 1)]], 1, crash=1, tick=1), branches.FENCE),
        (start([[(2, 1)]], 2, crash=1, tick=1, timeout=1), branches.REMOVED),
    ],
    ids=[
        "cut to fit",
        "a lease swept late",
        "an operator",
        "a living lease swept, a reset",
        "two resets, one late",
        "lost answer",
        "lost, expired",
        "lost, and arrives when the lease is gone",
        "crash",
        "crash and lost",
    ],
)
def test_small_worlds_keep_their_promises_in_every_schedule(first: World, branch: str | None):
    reached = Counter[str]()

    assert search(first, 60_000, reached=reached) == ("", [], True)

    assert branch is None or reached[branch]


@pytest.mark.parametrize("first", FULL, ids=["an answer lost", "too little left for all"])
def test_no_schedule_breaks_a_promise_while_the_item_is_full(first: World):
    """Attempts go on, so no search of it comes to an end."""
    assert search(first, 20_000) == ("", [], False)


def _numbers_from_the_lease(monkeypatch: pytest.MonkeyPatch):
    fresh = actions._terms

    def terms(now: World, process: world.Process) -> Terms:
        lease = process.state.lease
        return fresh(now, process)._replace(number=abs(lease.number) + 1 if lease else 1)

    monkeypatch.setattr(actions, "_terms", terms)


def _no_resolving(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease_state, "timed_out", lambda now: now)


def _denied_when_shut_out(monkeypatch: pytest.MonkeyPatch):
    applied = lease_state.applied

    def deny(now: LeaseState, won: Write, found: Lease | None = None) -> LeaseState:
        shut_out = [i for write in now.replaced if write is not won for i in write.new_holds]
        now = applied(now, won, found)
        now.requests.forget(shut_out)
        return now

    monkeypatch.setattr(lease_state, "applied", deny)


def _no_outbox(monkeypatch: pytest.MonkeyPatch):
    commit = verbs.commit

    def forgetful(process: str, lease: Lease | None, new: Lease, *rest) -> Write:
        write = commit(process, lease, new, *rest)
        return write._replace(lease=new._replace(receipts=()))

    monkeypatch.setattr(verbs, "commit", forgetful)


def _no_revival(monkeypatch: pytest.MonkeyPatch):
    refused = lease_state.refused

    def gone(now: LeaseState, book: Book, *rest, **options) -> LeaseState:
        lease = book.leases.get(now.process)
        new = refused(now, book, *rest, **options)
        if lease and lease.number < 0 and new.lease == lease:
            return lease_state._landed(lease_state._without_all_but_waiting(new), None)
        return new

    monkeypatch.setattr(lease_state, "refused", gone)


def _empty_leases_go(monkeypatch: pytest.MonkeyPatch):
    def apply(book: Book, write: Write, apply=world.apply) -> Book:
        after = apply(book, write)
        kept = {name: lease for name, lease in after.leases.items() if lease.held or lease.receipts}
        return replace(after, leases=kept)

    monkeypatch.setattr(world, "apply", apply)


def _no_wills(monkeypatch: pytest.MonkeyPatch):
    def held(*args, held=lease_state._held) -> tuple[int, int]:
        return held(*args)[0], 0

    monkeypatch.setattr(lease_state, "_held", held)


def _resets_take_no_wills(monkeypatch: pytest.MonkeyPatch):
    def reset(book: Book, receipt: Receipt, now: int, reset=verbs.reset) -> Change:
        return reset(replace(book, leases={}), receipt, now)

    monkeypatch.setattr(verbs, "reset", reset)


def _a_sweep_leaves_no_mark(monkeypatch: pytest.MonkeyPatch):
    def sweep(*args, sweep=verbs.sweep) -> Write:
        write = sweep(*args)
        return write._replace(lease=write.lease._replace(number=-write.lease.number + 1))

    monkeypatch.setattr(verbs, "sweep", sweep)


def _fences_stay_down(monkeypatch: pytest.MonkeyPatch):
    def remove(*args, remove=verbs.remove) -> Write:
        return remove(*args)._replace(fence=None)

    monkeypatch.setattr(verbs, "remove", remove)


def _leases_by_the_machine_s_clock(monkeypatch: pytest.MonkeyPatch):
    by_the_store = actions._terms

    def terms(now: World, process: world.Process) -> Terms:
        return by_the_store(now, process)._replace(now=now.now + process.skew)

    monkeypatch.setattr(actions, "_terms", terms)


def _judged_by_a_clock_ahead(monkeypatch: pytest.MonkeyPatch):
    def expired(book: Book, grace: int, expired=verbs.expired):
        return expired(replace(book, seen_at=book.seen_at + 2 * world.SECONDS), grace)

    monkeypatch.setattr(verbs, "expired", expired)


RULES = {  # each with the seed that shows it today, which is tried first
    _numbers_from_the_lease: 7,
    _no_resolving: 6,
    _denied_when_shut_out: 2,
    _no_outbox: 0,
    _no_revival: 0,
    _empty_leases_go: 0,
    _no_wills: 6,
    _resets_take_no_wills: 0,
    _a_sweep_leaves_no_mark: 0,
    _fences_stay_down: 6,
}


@pytest.mark.parametrize(("break_it", "first"), RULES.items(), ids=[rule.__name__.strip("_") for rule in RULES])
def test_without_a_rule_a_promise_breaks(break_it: Callable[[pytest.MonkeyPatch], None], first: int, monkeypatch):
    break_it(monkeypatch)

    assert _is_found(GUARDS, first)


@pytest.mark.parametrize("break_it", [_leases_by_the_machine_s_clock, _judged_by_a_clock_ahead])
def test_without_the_store_s_time_a_client_overspends(break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch):
    first = world.swap(start([[(3, 1)], [(3, 1)]], 3), 0, skew=-2 * world.SECONDS)
    assert search(first, 60_000) == ("", [], True)

    break_it(monkeypatch)

    assert search(first, 60_000)[0] == "overspend"


@pytest.mark.parametrize("guard", sorted(GUARDS))
def test_without_a_condition_a_promise_breaks(guard: str):
    assert _is_found(GUARDS - {guard}, {"fence": 3, "needed": 1}.get(guard, 0))


def _is_found(guards: frozenset[str], first: int) -> bool:
    """Whether a promise breaks in a walk, or in a small world of what is rare in walks."""
    if any(search(first._replace(guards=guards), 20_000)[0] for first in (RESET, LATE)):
        return True
    return any(walk(seed, STEPS_TO_A_FAULT, guards)[0] for seed in (first, *SEEDS))
