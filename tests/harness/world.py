"""A world for the real `lease_state` and `verbs`: processes, a store that loses and delays, an operator, a clock.

Everything is a value; an action (see `actions`) maps a World to a World. A write that is not answered becomes a
ghost: it may arrive at any later time, or never. A process that takes no step while the clock runs is paused; one
that generates in that time is cut off. `promises.wrong` names the first broken promise. Faults are counted budgets,
by kind.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gptdock.ledger.book import Book, Change, Demand, Receipt, Write
from gptdock.ledger.lease_state import LeaseState
from gptdock.ledger.requests import Requests

ALLOWANCE = 1  # tokens that a will adds
SECONDS = 1  # that a lease lasts, and that a swept one is kept: both end at the next tick
NOTHING: Mapping[Any, Any] = {}
# Conditions of the store, which a test can take out.
GUARDS = frozenset({"expected_number", "expected_will", "needed", "fence", "receipt", "late", "resets"})


class Sent(NamedTuple):
    """What was known when a commit was first sent: the store's time, and what each request had used."""

    now: int = -1
    levels: Mapping[int, int] = NOTHING


class Process(NamedTuple):
    state: LeaseState
    wants: tuple[Demand, ...]
    truth: tuple[int, ...]  # tokens that the upstream generated, by request
    up: bool = True
    number: int = 0
    asked: int = 0
    put: frozenset[str] = frozenset()
    sent: Mapping[int, Sent] = NOTHING  # what each commit knew, by its number
    base: Sent = Sent()  # the same, of the last commit applied
    skew: int = 0  # seconds that its machine's clock is ahead, which must not matter
    stale: bool = False  # died with more generated than its last applied commit covered
    away: bool = False  # was away until its swept lease was removed
    back: int = 0  # wills of its swept lease that a reset took back; they are not forgiven any more once it revives
    forgiven: int = 0  # the same, of leases that were removed


class World(NamedTuple):
    book: Book
    processes: tuple[Process, ...]
    faults: Mapping[str, int]
    usage: Mapping[str, Receipt] = NOTHING
    ghosts: tuple[Write | Change, ...] = ()
    now: int = 0
    peak: int = 0
    slack: int = 0  # what overruns freed, and sweeps of processes that were cut off for longer than a lease lasts
    forgiven: int = 0
    elsewhere: int = 0  # tokens that were used before, of another service, and brought over
    changes: int = 0
    guards: frozenset[str] = GUARDS
    wide: int = 0  # seconds by which processes may take the store's time to be later than it is, now more, now less
    most_receipts: int = 99  # in all leases of the book together: the size that the item may have
    bad: str = ""


def start(wants: list[list[tuple[int, int]]], limit: int, **faults: int) -> World:
    """A world of one book, where `wants` has a row for each process: the demands of its requests, as (full, least)."""
    processes = tuple(
        Process(fresh(p), tuple(Demand(*want) for want in row), (0,) * len(row)) for p, row in enumerate(wants)
    )
    return World(Book(limit, limit, 0), processes, faults, now=4 * SECONDS, peak=limit)


def fresh(p: int) -> LeaseState:
    """What a process knows that has not met the book."""
    return LeaseState(f"P{p}", Requests())


def fork(state: LeaseState) -> LeaseState:
    """The same state, which may be used up while the first is kept."""
    return state._replace(requests=state.requests.fork())


def verb(write: Write) -> str:
    """What a write does: commit, revive, sweep or remove."""
    if write.lease is None:
        return "remove"
    if write.lease.number < 0:
        return "sweep"
    return "revive" if (write.expected_number or 0) < 0 else "commit"


# -- the store --------------------------------------------------------------------------------------------------------
def holds(book: Book, write: Write, guards: frozenset[str] = GUARDS) -> bool:
    """Whether the book meets the condition of the write, as `items.update` expresses it for DynamoDB."""
    lease = book.leases.get(write.process)
    if write.expected_number is None:
        fenced = write.lease is not None and book.fence >= write.lease.expires_at and "fence" in guards
        as_expected = lease is None and not fenced
    else:
        as_expected = lease is not None and (lease.number == write.expected_number or "expected_number" not in guards)
        if lease and write.expected_will is not None and "expected_will" in guards:
            as_expected = as_expected and lease.will == write.expected_will
    enough = write.needed is None or book.left >= write.needed or "needed" not in guards
    return as_expected and enough and (write.fence is None or book.fence <= write.fence)


def apply(book: Book, write: Write) -> Book:
    """What a write makes of a book that meets its condition."""
    leases = dict(book.leases) | ({write.process: write.lease} if write.lease else {})
    if write.lease is None:
        leases.pop(write.process)
    fence = book.fence if write.fence is None else write.fence
    left, used = book.left + write.left_by, book.used + write.used_by
    return Book(book.max, left, used, fence, leases, resets=book.resets)


def is_too_big(before: Book, write: Write, most_receipts: int) -> bool:
    """Whether the book would have more receipts after the write than fit into its item."""
    receipts = sum(len(lease.receipts) for lease in apply(before, write).leases.values())
    return receipts > max(most_receipts, sum(len(lease.receipts) for lease in before.leases.values()))


def stored(world: World, write: Write) -> tuple[World, bool]:
    """The write reaches the store: the world after it, and whether it was applied."""
    if not holds(world.book, write, world.guards) or is_too_big(world.book, write, world.most_receipts):
        return world, False
    before = world.book
    world = world._replace(book=apply(before, write))
    if write.new_holds and world.book.left < 0:
        world = world._replace(bad="left < 0 by a hold")
    if write.used_by < 0 and verb(write) != "revive":
        world = world._replace(bad="used fell")
    p = int(write.process[1:])
    process = world.processes[p]
    is_due = process.base.now + SECONDS < world.now  # a clock that is wrong is no excuse
    if verb(write) == "sweep" and is_due and (process.up or process.stale):
        world = world._replace(slack=world.slack + max(0, write.left_by))
    if verb(write) == "remove":
        away = process.away or (before.leases[write.process].number < 0 and process.up)
        return swap(world, p, away=away, back=0, forgiven=process.forgiven + process.back), True
    if verb(write) == "revive":
        world = swap(world._replace(forgiven=world.forgiven - process.back), p, back=0)
    if write.lease and write.lease.number > 0:
        world = swap(world, p, base=process.sent.get(write.lease.number, Sent()))
    return world, True


def fits(book: Book, change: Change, guards: frozenset[str] = GUARDS) -> bool:
    """Whether the book meets the conditions of a change, as `items.change_updates` expresses them, but its receipt."""
    if change.old_max is not None:
        return book.max == change.old_max
    leases = [(book.leases.get(receipt.process), receipt) for receipt in change.late]
    if not all(lease and lease[1:3] == (-late.tokens, late.commit) for lease, late in leases) and "late" in guards:
        return False
    if change.resets not in (None, book.resets) and "resets" in guards:
        return False
    return book.used >= -change.used_by


def change_of(book: Book, change: Change) -> Book:
    """What a change makes of a book that meets its conditions."""
    swept = {late.process: book.leases.get(late.process) for late in change.late}
    emptied = {name: lease._replace(will=0) for name, lease in swept.items() if lease}
    top, left, used = book.max + change.max_by, book.left + change.left_by, book.used + change.used_by
    resets = book.resets + (change.resets is not None)
    return Book(top, left, used, book.fence, {**book.leases, **emptied}, resets=resets)


def changed(world: World, change: Change) -> World:
    """An operator's change reaches the store: one transaction with its receipts."""
    again = change.receipt.key in world.usage
    if (again and "receipt" in world.guards) or not fits(world.book, change, world.guards):
        return world
    if not fits(world.book, change, world.guards | {"late"}):
        world = world._replace(bad="a will was taken back that was not charged")
    usage = {**world.usage, **{receipt.key: receipt for receipt in (change.receipt, *change.late)}}
    for receipt in change.late:
        p = int(receipt.process[1:])
        world = swap(world, p, back=world.processes[p].back - receipt.tokens)
    book, elsewhere = change_of(world.book, change), world.elsewhere + max(0, change.used_by)
    peak, forgiven = max(world.peak, book.max - elsewhere), world.forgiven - min(0, change.used_by)
    world = world._replace(book=book, usage=usage, peak=peak, forgiven=forgiven, elsewhere=elsewhere)
    return world._replace(bad="a change was applied twice") if again else world


def swap(world: World, p: int, **changes: Any) -> World:
    """The world with one process changed."""
    new = world.processes[p]._replace(**changes)
    return world._replace(processes=(*world.processes[:p], new, *world.processes[p + 1 :]))


def spend(world: World, kind: str) -> World | None:
    """The world with one fault of this kind less to come, if any is left."""
    left = world.faults.get(kind, 0)
    return world._replace(faults={**world.faults, kind: left - 1}) if left else None
