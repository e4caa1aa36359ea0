"""What can happen in a `world`: everything that can be the next action, with the world after it."""

from collections.abc import Iterator
from dataclasses import replace

from gptdock.ledger import lease_state, verbs
from gptdock.ledger.book import Change, Receipt, Terms, Write
from gptdock.ledger.lease_state import LeaseState
from gptdock.ledger.requests import Phase
from tests.harness.world import (
    ALLOWANCE,
    SECONDS,
    Process,
    Sent,
    World,
    changed,
    fork,
    fresh,
    holds,
    is_too_big,
    spend,
    stored,
    swap,
    verb,
)


def actions(world: World) -> Iterator[tuple[str, World]]:
    """Everything that can happen next."""
    for p, process in enumerate(world.processes):
        if process.up:
            yield from _requests(world, p, process)
            yield from _commits(world, p, process)
            if after := spend(world, "crash"):
                stale = any(_uncovered(process, i) for i in process.state.requests)
                yield f"P{p} dies", swap(after, p, up=False, stale=stale, state=fresh(p))
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
        new = lease_state.ask(fork(process.state), i, process.wants[i], ALLOWANCE)
        yield f"P{p} asks {i}: {process.wants[i]}", swap(world, p, state=new, asked=i + 1)
    for i, request in process.state.requests.items():
        if request.phase is Phase.WAITS and (after := spend(world, "give_up")):
            yield f"P{p} caller {i} gives up", swap(after, p, state=lease_state.give_up(fork(process.state), i))
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
    return swap(world, p, state=lease_state.end(fork(process.state), i, receipt), truth=truths)


def _commits(world: World, p: int, process: Process) -> Iterator[tuple[str, World]]:
    write = process.state.in_flight
    if write is None:
        used = {i: process.truth[i] + ALLOWANCE for i in process.state.requests}
        as_expected = lease_state.progress(fork(process.state), used)
        for renew, ours in ((False, process.state), (True, as_expected)):
            made = lease_state.commit(ours, _terms(world, process), process.put, renew=renew)
            if made and not renew and lease_state.is_settled(ours):
                yield f"P{p} sends nothing", world._replace(bad=f"settled, though it had to send {made}")
            if made and not (renew and _is_idle(ours, made)):
                yield f"P{p} sends {made}", _launched(swap(world, p, state=ours), p, made)
        if not process.state.requests and process.state.lease and (after := spend(world, "forget")):
            yield f"P{p} forgets the book", swap(after, p, state=fresh(p), put=frozenset())
    else:
        after, applied = stored(world, write)
        big = holds(world.book, write) and is_too_big(world.book, write, world.most_receipts)
        answer = "applied" if applied else "too big" if big else "refused"
        yield f"P{p} is answered: {answer}", _learned(after, p, answer)
        if lost := spend(world, "timeout"):
            lost = lost._replace(ghosts=(*lost.ghosts, write))
            yield f"P{p} is not answered", swap(lost, p, state=lease_state.timed_out(fork(process.state)))
    receipts = process.state.lease.receipts if process.state.lease else ()
    if missing := [receipt for receipt in receipts if receipt.key not in process.put]:
        keys = process.put | {receipt.key for receipt in missing}
        yield f"P{p} puts its receipts", swap(_put(world, missing), p, put=keys)


def _learned(world: World, p: int, answer: str) -> World:
    process = world.processes[p]
    assert process.state.in_flight is not None
    if answer == "applied":
        new = lease_state.applied(fork(process.state), process.state.in_flight)
        return swap(_denied(world, process.state, new), p, state=new)
    try:
        terms, big = _terms(world, process), answer == "too big"
        new = lease_state.refused(fork(process.state), world.book, terms, process.put, is_too_big=big)
    except ValueError as exc:
        return world._replace(bad=str(exc))
    gone = any(i not in new.requests for i, r in process.state.requests.items() if r.phase is Phase.OPEN)
    away = process.away or (gone and new.lease is None)
    world = swap(_denied(world, process.state, new), p, state=new._replace(in_flight=None), away=away)
    if new.in_flight is process.state.in_flight:  # the same again
        return swap(world, p, state=new)
    return _launched(world, p, new.in_flight) if new.in_flight else world


def _denied(world: World, old: LeaseState, new: LeaseState) -> World:
    """Who waited and is gone was told that not even a minimal answer fits: not so if all could have theirs in full."""
    waiting, write = old.requests.waiting, old.in_flight
    assert write is not None
    room = world.book.left + min(0, write.left_by + sum(write.new_holds.values()))  # after charges above a hold
    room -= sum(demand.full for demand in waiting.values())
    fit = [i for i, demand in waiting.items() if demand.least - demand.full <= room]
    wronged = [i for i in fit if i not in new.requests]
    return world._replace(bad=f"denied, though they fit: {wronged}") if wronged else world


def _launched(world: World, p: int, write: Write) -> World:
    process = world.processes[p]
    assert write.lease is not None
    requests = process.state.requests
    levels = {i: r.used - (0 if i in requests.charged else ALLOWANCE) for i, r in requests.items()}
    return swap(
        world,
        p,
        state=lease_state.send(fork(process.state), write),
        number=write.lease.number,
        sent={**_remembered(world, process), write.lease.number: Sent(world.now, levels)},
    )


def _is_idle(ours: LeaseState, write: Write) -> bool:
    """Whether a renewal would change nothing: without this no world could be searched to its end."""
    old, new = ours.lease, write.lease
    same = old and new and (old.will, old.expires_at, old.number > 0) == (new.will, new.expires_at, True)
    return bool(same) and not (write.new_holds or write.ends or ours.most_new is not None)


def _remembered(world: World, process: Process) -> dict[int, Sent]:
    """The commits that may yet be applied."""
    writes = [process.state.in_flight, *process.state.replaced, *world.ghosts]
    numbers = {write.lease.number for write in writes if isinstance(write, Write) and write.lease}
    return {number: sent for number, sent in process.sent.items() if number in numbers}


def _sweeps(world: World) -> Iterator[tuple[str, World]]:
    for name, lease in world.book.leases.items():
        if name not in dict(verbs.expired(replace(world.book, seen_at=world.now), 0)):
            continue
        missing = [receipt for receipt in lease.receipts if receipt.key not in world.usage]
        if missing:
            yield f"receipts of {name} are put by another", _put(world, missing)
        if lease.held:
            write = verbs.sweep(name, lease, world.now, SECONDS, world.usage.keys())
        elif not missing:
            write = verbs.remove(name, lease, world.book.fence)
        else:
            continue
        yield f"{verb(write)} of {name}", stored(world, write)[0]
        if stray := spend(world, "stray"):
            yield f"{verb(write)} of {name} is read and sent", stray._replace(ghosts=(*world.ghosts, write))


def _changes(world: World) -> Iterator[tuple[str, Change]]:
    receipt = Receipt(f"change#{world.changes}", 0, 0, 0, "-", "-", "set_quota", "change", "-")
    for by in (1, -1):
        yield f"max {by:+}", verbs.set_max(world.book.max, world.book.max + by, receipt)
    yield "credit", verbs.credit(1, receipt._replace(source="credit"), receipt.key)
    brought = receipt._replace(source="import", tokens=1)
    yield "bring", verbs.bring(world.book.max, world.book.max + 1, 1, brought, brought.key)
    yield "reset", verbs.reset(world.book, receipt._replace(source="reset"), world.now)


def _terms(world: World, process: Process) -> Terms:
    """Time is the store's, whatever `process.skew` is."""
    number = process.number + 1
    return Terms(number, world.now + world.wide * (number % 2), SECONDS)


def _put(world: World, receipts: list[Receipt]) -> World:
    return world._replace(usage={**world.usage, **{receipt.key: receipt for receipt in receipts}})


def _plus(values: tuple[int, ...], i: int, by: int) -> tuple[int, ...]:
    return (*values[:i], values[i] + by, *values[i + 1 :])


def _uncovered(process: Process, i: int) -> bool:
    request = process.state.requests[i]
    covered = min(request.held, process.base.levels.get(i, 0) + ALLOWANCE)
    return request.phase in (Phase.OPEN, Phase.ENDED) and process.truth[i] > covered
