"""A world for the real `state` and `quota`: processes, a store that loses and delays, an operator, a clock.

Everything is a value; an action maps a World to a World. A write that is not answered becomes a ghost: it may arrive at
any later time, or never. A process that takes no step while the clock runs is paused; one that generates meanwhile is
cut off. `wrong` names the first broken promise. Faults are counted budgets, by kind.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from gptdock.ledger import lease_state, verbs
from gptdock.ledger.book import Book, Change, Demand, Receipt, Terms, Write
from gptdock.ledger.lease_state import LeaseState, Phase

ALLOWANCE = 1  # tokens that a will adds
SECONDS = 1  # that a lease lasts, and a swept one is kept: both end at the next tick
NOTHING: Mapping[Any, Any] = {}
# Conditions of the store; without one it is broken.
GUARDS = frozenset({"expected_number", "needed", "fence", "receipt"})


class Process(NamedTuple):
    state: LeaseState
    wants: tuple[Demand, ...]
    truth: tuple[int, ...]  # tokens that the upstream generated, by request
    up: bool = True
    number: int = 0
    asked: int = 0
    put: frozenset[str] = frozenset()
    levels: Mapping[int, Mapping[int, int]] = NOTHING  # by commit: what each request had used
    base: Mapping[int, int] = NOTHING  # the same, of the last commit applied
    stale: bool = False  # died with more generated than its last applied commit covered
    away: bool = False  # was away until its swept lease was removed


class World(NamedTuple):
    book: Book
    processes: tuple[Process, ...]
    faults: Mapping[str, int]
    usage: Mapping[str, Receipt] = NOTHING
    ghosts: tuple[Write | Change, ...] = ()
    now: int = 0
    peak: int = 0
    slack: int = 0  # what overruns and sweeps of living leases freed
    forgiven: int = 0
    changes: int = 0
    guards: frozenset[str] = GUARDS
    bad: str = ""


def start(wants: list[list[tuple[int, int]]], limit: int, **faults: int) -> World:
    """Processes with what their requests want, (full, least) each, on one book."""
    processes = tuple(
        Process(LeaseState(f"P{p}"), tuple(Demand(*want) for want in row), (0,) * len(row))
        for p, row in enumerate(wants)
    )
    return World(Book(limit, limit, 0), processes, faults, peak=limit)


def verb(write: Write) -> str:
    """What a write does: commit, revive, sweep or remove."""
    if write.lease is None:
        return "remove"
    if write.lease.number < 0:
        return "sweep"
    return "revive" if (write.expected_number or 0) < 0 else "commit"


# -- the store --------------------------------------------------------------------------------------------------------
def holds(book: Book, write: Write, guards: frozenset[str] = GUARDS) -> bool:
    """The condition of a write, as `items.update` says it to DynamoDB."""
    lease = book.leases.get(write.process)
    if write.expected_number is None:
        fenced = write.lease is not None and book.fence >= write.lease.expires_at and "fence" in guards
        as_expected = lease is None and not fenced
    else:
        as_expected = lease is not None and (lease.number == write.expected_number or "expected_number" not in guards)
    enough = write.needed is None or book.left >= write.needed or "needed" not in guards
    return as_expected and enough and (write.fence is None or book.fence <= write.fence)


def apply(book: Book, write: Write) -> Book:
    """What a write makes of a book that meets its condition."""
    leases = dict(book.leases) | ({write.process: write.lease} if write.lease else {})
    if write.lease is None:
        leases.pop(write.process)
    fence = book.fence if write.fence is None else write.fence
    return Book(book.max, book.left + write.left_by, book.used + write.used_by, fence, leases)


def stored(world: World, write: Write) -> tuple[World, bool]:
    """The write reaches the store: the world after it, and whether it was applied."""
    if not holds(world.book, write, world.guards):
        return world, False
    before = world.book
    world = world._replace(book=apply(before, write))
    if write.new_holds and world.book.left < 0:
        world = world._replace(bad="left < 0 by a hold")
    if write.used_by < 0 and verb(write) != "revive":
        world = world._replace(bad="used fell")
    p = int(write.process[1:])
    process = world.processes[p]
    if verb(write) == "sweep" and (process.up or process.stale):
        world = world._replace(slack=world.slack + max(0, write.left_by))
    if verb(write) == "remove":
        away = process.away or (before.leases[write.process].number < 0 and process.up)
        return swap(world, p, away=away), True
    if write.lease and write.lease.number > 0:
        world = swap(world, p, base=process.levels.get(write.lease.number, {}))
    return world, True


def changed(world: World, change: Change) -> World:
    """An operator's change reaches the store: one transaction with its receipt."""
    book, again = world.book, change.receipt.key in world.usage
    if (again and "receipt" in world.guards) or change.old_max not in (None, book.max):
        return world
    if book.used < -change.used_by > 0:
        return world
    top = book.max + change.max_by
    book = replace(book, max=top, left=book.left + change.left_by, used=book.used + change.used_by)
    usage = {**world.usage, change.receipt.key: change.receipt}
    forgiven = world.forgiven - change.used_by
    world = world._replace(book=book, usage=usage, peak=max(world.peak, top), forgiven=forgiven)
    return world._replace(bad="a change was applied twice") if again else world


# -- what can happen --------------------------------------------------------------------------------------------------
def actions(world: World) -> Iterator[tuple[str, World]]:
    """Everything that can happen next."""
    for p, process in enumerate(world.processes):
        if process.up:
            yield from _requests(world, p, process)
            yield from _commits(world, p, process)
            if after := spend(world, "crash"):
                stale = any(_uncovered(process, i) for i in process.state.requests)
                yield f"P{p} dies", swap(after, p, up=False, stale=stale, state=LeaseState(f"P{p}"))
    for i, ghost in enumerate(world.ghosts):
        after = world._replace(ghosts=world.ghosts[:i] + world.ghosts[i + 1 :])
        done = stored(after, ghost)[0] if isinstance(ghost, Write) else changed(after, ghost)
        yield f"late arrival: {ghost}", done
    yield from _sweeps(world)
    if after := spend(world, "tick"):
        yield "the clock runs past every expiry", after._replace(now=world.now + 2 * SECONDS)
    if after := spend(world, "change"):
        for name, change in _changes(world):
            twice = (*world.ghosts, change, change)
            yield f"operator: {name}, sent twice", after._replace(ghosts=twice, changes=world.changes + 1)


def _requests(world: World, p: int, process: Process) -> Iterator[tuple[str, World]]:
    i = process.asked
    if i < len(process.wants):
        new = lease_state.ask(process.state, i, process.wants[i], 0)
        yield f"P{p} asks {i}: {process.wants[i]}", swap(world, p, state=new, asked=i + 1)
    for i, request in process.state.requests.items():
        if request.phase is Phase.WAITS and (after := spend(world, "give_up")):
            yield f"P{p} caller {i} gives up", swap(after, p, state=lease_state.give_up(process.state, i))
        if request.phase is Phase.OPEN:
            truth = process.truth[i]
            if truth < request.held:
                yield f"P{p} upstream generates for {i}", swap(world, p, truth=_plus(process.truth, i, 1))
            yield f"P{p} request {i} ends at {truth}", _ended(world, p, i, truth)
            if after := spend(world, "over"):
                after = after._replace(slack=after.slack + request.held + 1 - truth)
                yield f"P{p} request {i} overruns", _ended(after, p, i, request.held + 1)


def _ended(world: World, p: int, i: int, truth: int) -> World:
    process = world.processes[p]
    receipt = Receipt(f"r#P{p}#{i}", truth, 0, 0, "u", "m", "upstream", "complete", f"P{p}")
    truths = _plus(process.truth, i, truth - process.truth[i])
    return swap(world, p, state=lease_state.end(process.state, i, receipt), truth=truths)


def _commits(world: World, p: int, process: Process) -> Iterator[tuple[str, World]]:
    write = process.state.in_flight
    if write is None:
        as_expected = lease_state.progress(process.state, {i: process.truth[i] for i in process.state.requests})
        for renew, ours in ((False, process.state), (True, as_expected)):
            made = lease_state.commit(ours, _terms(world, process), process.put, renew=renew)
            if made and not (renew and _is_idle(ours, made)):
                yield f"P{p} sends {made}", _launched(swap(world, p, state=ours), p, made)
        if not process.state.requests and process.state.lease and (after := spend(world, "forget")):
            yield f"P{p} forgets the book", swap(after, p, state=LeaseState(f"P{p}"), put=frozenset())
    else:
        after, applied = stored(world, write)
        yield f"P{p} is answered: {'applied' if applied else 'refused'}", _learned(after, p, applied=applied)
        if lost := spend(world, "timeout"):
            lost = lost._replace(ghosts=(*lost.ghosts, write))
            yield f"P{p} is not answered", swap(lost, p, state=lease_state.timed_out(process.state))
    receipts = process.state.lease.receipts if process.state.lease else ()
    if missing := [receipt for receipt in receipts if receipt.key not in process.put]:
        keys = process.put | {receipt.key for receipt in missing}
        yield f"P{p} puts its receipts", swap(_put(world, missing), p, put=keys)


def _learned(world: World, p: int, *, applied: bool) -> World:
    process = world.processes[p]
    assert process.state.in_flight is not None
    if applied:
        return swap(world, p, state=lease_state.applied(process.state, process.state.in_flight))
    try:
        new = lease_state.refused(process.state, world.book, _terms(world, process), process.put)
    except ValueError as exc:
        return world._replace(bad=str(exc))
    gone = any(i not in new.requests for i, r in process.state.requests.items() if r.phase is Phase.OPEN)
    world = swap(world, p, state=replace(new, in_flight=None), away=process.away or (gone and new.lease is None))
    return _launched(world, p, new.in_flight) if new.in_flight else world


def _launched(world: World, p: int, write: Write) -> World:
    process = world.processes[p]
    assert write.lease is not None
    requests = process.state.requests
    levels = {i: r.receipt.tokens if r.receipt else r.used for i, r in requests.items()}
    return swap(
        world,
        p,
        state=lease_state.send(process.state, write),
        number=write.lease.number,
        levels={**_remembered(world, process), write.lease.number: levels},
    )


def _is_idle(ours: LeaseState, write: Write) -> bool:
    """Whether a renewal would change nothing: without this no world could be searched to its end."""
    old, new = ours.lease, write.lease
    same = old and new and (old.will, old.expires_at, old.number > 0) == (new.will, new.expires_at, True)
    return bool(same) and not write.new_holds and not write.ends


def _remembered(world: World, process: Process) -> dict[int, Mapping[int, int]]:
    """Levels of the commits that may yet be applied."""
    writes = [process.state.in_flight, process.state.replaced, *world.ghosts]
    numbers = {write.lease.number for write in writes if isinstance(write, Write) and write.lease}
    return {number: levels for number, levels in process.levels.items() if number in numbers}


def _sweeps(world: World) -> Iterator[tuple[str, World]]:
    for name, lease in world.book.leases.items():
        late = name in dict(verbs.expired(world.book, world.now, 0))
        after = world if late else spend(world, "skew")
        if after is None:
            continue
        missing = [receipt for receipt in lease.receipts if receipt.key not in world.usage]
        if missing:
            yield f"receipts of {name} are put by another", _put(after, missing)
        if lease.held:
            write = verbs.sweep(name, lease, world.now, SECONDS)
        elif not missing:
            write = verbs.remove(name, lease, world.book.fence)
        else:
            continue
        yield f"{verb(write)} of {name}", stored(after, write)[0]
        if stray := spend(after, "stray"):
            yield f"{verb(write)} of {name} is read and sent", stray._replace(ghosts=(*world.ghosts, write))


def _changes(world: World) -> Iterator[tuple[str, Change]]:
    receipt = Receipt(f"change#{world.changes}", 0, 0, 0, "-", "-", "set_quota", "change", "-")
    for by in (1, -1):
        yield f"max {by:+}", verbs.set_max(world.book.max, world.book.max + by, receipt)
    yield "reset", verbs.reset(world.book.used, receipt)


def _terms(world: World, process: Process) -> Terms:
    return Terms(process.number + 1, world.now, SECONDS, ALLOWANCE)


def _put(world: World, receipts: list[Receipt]) -> World:
    return world._replace(usage={**world.usage, **{receipt.key: receipt for receipt in receipts}})


def _plus(values: tuple[int, ...], i: int, by: int) -> tuple[int, ...]:
    return (*values[:i], values[i] + by, *values[i + 1 :])


def _uncovered(process: Process, i: int) -> bool:
    request = process.state.requests[i]
    covered = min(request.held, process.base.get(i, 0) + ALLOWANCE)
    return request.phase in (Phase.OPEN, Phase.ENDED) and process.truth[i] > covered


def swap(world: World, p: int, **changes: Any) -> World:
    """The world with one process changed."""
    new = world.processes[p]._replace(**changes)
    return world._replace(processes=(*world.processes[:p], new, *world.processes[p + 1 :]))


def spend(world: World, kind: str) -> World | None:
    """The world with one fault of this kind less to come, if any is left."""
    left = world.faults.get(kind, 0)
    return world._replace(faults={**world.faults, kind: left - 1}) if left else None
