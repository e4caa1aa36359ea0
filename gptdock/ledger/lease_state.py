"""What one process knows of its lease on a book, with its requests, and what it learns from each answer.

    waits --applied--> open --end--> ended --applied--> (gone)
      |                 the tokens are in the book from the first `applied` to the last
      +--refused, does not fit--> (gone: denied)
      +--give up while in flight--> gave up --applied--> ended

One commit is in flight a side. The number in the book says which commit was applied, so each distinct commit has a
fresh one. A commit that is not answered is sent again as it is, until it is. If it is refused for want of tokens after
an attempt was lost, that attempt may still arrive: before anybody is denied it is shut out by another commit, without
new holds, which `replaced` it. All of DESIGN 3's "rules of a process" are here, as functions from side to side.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from enum import Enum

from gptdock.ledger import verbs
from gptdock.ledger.book import Ask, Book, Lease, Receipt, Terms, Write

MOST_RECEIPTS = 32  # in a lease, so that the item stays small; further settles wait for the next commit (DESIGN 3)


class State(Enum):
    """Where a request of this process is."""

    WAITS = "waits"
    GAVE_UP = "gave up"
    OPEN = "open"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, what it asks to hold and holds; `seen` tokens were surely generated for it."""

    ask: Ask
    seen: int
    state: State = State.WAITS
    held: int = 0
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """`lease` is as last confirmed; `late` while a lost attempt at `flying` may still arrive.

    `room` is what a refusal showed to be left for those that wait; no lease is made that expires by `fence`.
    """

    process: str
    lease: Lease | None = None
    requests: Mapping[int, Request] = field(default_factory=dict)
    flying: Write | None = None
    replaced: Write | None = None
    late: bool = False
    room: int | None = None
    fence: int = -1


def ask(side: Side, request_id: int, ask: Ask, seen: int) -> Side:
    """A request waits for its hold; `seen` tokens are charged for it at least, if the process is lost."""
    return _change(side, {request_id: Request(ask, seen)})


def give_up(side: Side, request_id: int) -> Side:
    """A request no longer wants its hold: forgotten, or released as soon as it is known to be in the book."""
    request = side.requests.get(request_id)
    if request is None or request.state is State.OPEN:
        return end(side, request_id, None)
    in_flight = any(write and request_id in write.asks for write in (side.flying, side.replaced))
    return _change(side, {request_id: replace(request, state=State.GAVE_UP) if in_flight else None})


def end(side: Side, request_id: int, receipt: Receipt | None) -> Side:
    """An open request ended: its hold becomes what the receipt says, nothing without one. The first word counts."""
    request = side.requests.get(request_id)
    if request is None or request.state is not State.OPEN:
        return side
    return _change(side, {request_id: replace(request, state=State.ENDED, receipt=receipt)})


def progress(side: Side, seen: Mapping[int, int]) -> Side:
    """What open requests have surely used by now: wills rest on it."""
    return _change(
        side, {i: replace(side.requests[i], seen=tokens) for i, tokens in seen.items() if i in side.requests}
    )


def commit(side: Side, terms: Terms, put: Set[str], *, renew: bool = False, deny: bool = False) -> Write | None:
    """The write that makes the book what the requests are now; None if there is nothing to write.

    `put` are keys of receipts known to be in `usage`; `renew` asks for a new expiry and will while requests are open;
    `deny` leaves out new holds, and is always worth a write. A swept lease is revived first, without new holds.
    """
    lease = side.lease
    revives = lease is not None and lease.number < 0
    asks = {} if revives or deny else _asks(side)
    outbox = [receipt for receipt in (lease.receipts if lease else ()) if receipt.key not in put]
    ends = tuple(_endable(side, MOST_RECEIPTS - len(outbox) - revives))
    if not (asks or ends or revives or deny or (renew and _holding(side, ends))):
        return None
    outbox += [r._replace(commit=terms.number) for i in ends if (r := side.requests[i].receipt)]
    if lease is not None and revives:
        outbox.append(verbs.own_receipt("late", side.process, terms.number, terms.now, -lease.will))
    held, will = _held(side, asks, ends, terms.allowance)
    least_expiry = lease.expires_at if lease and not revives else 0
    expires_at = max(terms.now + terms.lease_seconds, side.fence + 1, least_expiry)
    return verbs.commit(side.process, lease, Lease(held, will, terms.number, expires_at, tuple(outbox)), asks, ends)


def send(side: Side, write: Write) -> Side:
    """The side with this commit in flight."""
    return replace(side, flying=write)


def timed_out(side: Side) -> Side:
    """An attempt at the commit in flight was not answered: it may arrive at any later time, or never."""
    return replace(side, late=True)


def applied(side: Side, won: Write, found: Lease | None = None) -> Side:
    """A commit is in the book: its holds are open, what it ended is settled. `found`: the lease, if swept since."""
    changes: dict[int, Request | None] = dict.fromkeys(won.ends)
    if side.replaced and won is not side.replaced:
        changes |= dict.fromkeys(side.replaced.asks)
    for request_id, tokens in won.asks.items():
        request = side.requests[request_id]
        state = State.OPEN if request.state is State.WAITS else State.ENDED
        changes[request_id] = replace(request, state=state, held=tokens)
    return _landed(_change(side, changes), found or won.lease)


def refused(side: Side, book: Book, terms: Terms, put: Set[str]) -> Side:
    """The book refused the commit in flight, and showed itself: what became of that commit, and of its requests.

    The new side has nothing in flight, or the commit to send next. Raises ValueError if the lease is none that this
    process can have written: two processes under one id.
    """
    write, lease = side.flying, book.leases.get(side.process)
    assert write is not None
    assert write.lease is not None
    if lease is None and (write.seen is not None or book.fence >= write.lease.expires_at):
        # Swept and removed: what was open is final.
        return _landed(_without(side, State.OPEN, State.ENDED, State.GAVE_UP), None, book.fence)
    if lease is not None and (won := _won(side, lease)):
        return applied(side, won, lease)
    if lease is not None and lease.number < 0:  # swept, and this commit was not in: now it never will be
        return _landed(_without(side, State.GAVE_UP), lease)
    if lease is not None and write.seen not in (None, lease.number):
        raise ValueError(f"process {side.process} lost track of its lease")
    return _out_of_room(replace(side, lease=lease), write, book, terms, put)


def _won(side: Side, lease: Lease) -> Write | None:
    return next((write for write in (side.flying, side.replaced) if write and write.is_in(lease)), None)


def _out_of_room(side: Side, write: Write, book: Book, terms: Terms, put: Set[str]) -> Side:
    if side.late:  # a lost attempt may still arrive and win: shut it out before anybody is told
        return replace(side, flying=commit(side, terms, put, deny=True), replaced=side.replaced or write)
    if write.seen is None and side.lease is not None:  # its own, from before this process forgot the book
        return _landed(_without(side, State.GAVE_UP), side.lease)
    return _denied(side, write, book)


def _denied(side: Side, write: Write, book: Book) -> Side:
    room = book.left + write.left_by + sum(write.asks.values())
    side = _without(_landed(side, side.lease), State.GAVE_UP)
    asked = [(i, side.requests[i].ask) for i in write.asks if i in side.requests]
    fits = verbs.fit(asked, room)
    side = _change(side, {i: None for i, _ in asked if i not in fits})
    return replace(side, room=room if fits else None)


def _asks(side: Side) -> dict[int, int]:
    waiting = [(i, request.ask) for i, request in side.requests.items() if request.state is State.WAITS]
    return verbs.fit(waiting, side.room) or verbs.fit(waiting, None)


def _endable(side: Side, receipts: int) -> Iterator[int]:
    for request_id, request in side.requests.items():
        if request.state is State.ENDED:
            receipts -= request.receipt is not None
            if receipts >= 0 or request.receipt is None:
                yield request_id


def _holding(side: Side, ends: tuple[int, ...]) -> list[Request]:
    """The requests that still hold tokens after `ends`: open ones, and ended ones that the outbox has no room for."""
    states = (State.OPEN, State.ENDED)
    return [request for i, request in side.requests.items() if request.state in states and i not in ends]


def _held(side: Side, asks: Mapping[int, int], ends: tuple[int, ...], allowance: int) -> tuple[int, int]:
    """Tokens held with `asks` in, and what to charge for them if this process is never heard of again."""
    holds = [_share(request, allowance) for request in _holding(side, ends)]
    holds += [(tokens, side.requests[i].seen + allowance) for i, tokens in asks.items()]
    return sum(held for held, _ in holds), sum(min(held, used) for held, used in holds)


def _share(request: Request, allowance: int) -> tuple[int, int]:
    """What a request holds, and used; one whose receipt waits for room holds no more than it costs."""
    if request.receipt is None:
        return request.held, request.seen + allowance
    return min(request.held, request.receipt.tokens), request.receipt.tokens


def _landed(side: Side, lease: Lease | None, fence: int = -1) -> Side:
    """Nothing is in flight any more. A later lease ends no sooner than what this process itself ever wrote."""
    wrote = side.flying.lease.expires_at - 1 if side.flying and side.flying.lease else -1
    fence = max(side.fence, fence, wrote)
    return replace(side, lease=lease, flying=None, replaced=None, late=False, room=None, fence=fence)


def _change(side: Side, changes: Mapping[int, Request | None]) -> Side:
    requests = {**side.requests, **changes}
    return replace(side, requests={i: request for i, request in requests.items() if request is not None})


def _without(side: Side, *states: State) -> Side:
    return replace(side, requests={i: r for i, r in side.requests.items() if r.state not in states})
