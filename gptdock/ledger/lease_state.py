"""Pure: what one process knows of its lease in a book, with its requests, and what it learns from each answer.

    waits --applied--> open --end--> ended --applied--> (gone)
      |                 its tokens are in the book from the first `applied` to the last
      +--refused, does not fit--> (gone: denied)
      +--give up while in flight--> gave up --applied--> ended

These are the rules of a process (see `gptdock.ledger`), as functions from state to state. One commit is in flight at a
time, and sent again as it is until it is answered. If it is refused for lack of tokens after an attempt was lost, that
attempt may still arrive: a commit without new holds takes its place, and the state keeps the old one in `replaced`.
Once that is shut out, its requests wait again. If it is refused for the size of the item, one with half of its new
receipts follows; or, after an attempt was lost, one without any takes its place in the same way.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import NamedTuple

from gptdock.ledger import verbs
from gptdock.ledger.book import Book, Demand, Lease, Receipt, Terms, Write
from gptdock.ledger.receipt_items import bytes_in_lease
from gptdock.ledger.requests import Phase, Requests

# In a lease; further settles wait for the next commit. Its bytes are a share of those for all leases, as the book last
# showed their number, but enough for one receipt: so the item of 50 leases stays below 100 KB.
MOST_RECEIPTS = 64
MOST_BYTES = 10_000
SHARED_BYTES = 22_000


class LeaseState(NamedTuple):
    """`lease` is as last confirmed. `may_still_arrive`: an attempt at `in_flight` was lost and may yet be applied.

    `room` is what a refusal showed to be left for requests that wait, in tokens; None: unknown. No lease is made that
    expires at or before `fence`. `leases` is their number in the book as last shown. `most_new` receipts may be new in
    the next commit; None: it may be of any size.

    The functions below use up the state that they are given: `requests` is changed in place. To keep one, copy those.
    """

    process: str
    requests: Requests
    lease: Lease | None = None
    in_flight: Write | None = None
    replaced: tuple[Write, ...] = ()
    may_still_arrive: bool = False
    room: int | None = None
    fence: int = -1
    leases: int = 1
    most_new: int | None = None


def ask(state: LeaseState, request_id: int, demand: Demand, used: int) -> LeaseState:
    """A request begins to wait for its hold; `used` tokens may be used by its next renewal, if it is admitted."""
    state.requests.wait(request_id, demand, used)
    return state


def give_up(state: LeaseState, request_id: int) -> LeaseState:
    """A request no longer wants its hold: it is forgotten, or released once its hold is known to be in the book."""
    request = state.requests.get(request_id)
    if request is None or request.phase is not Phase.WAITS:
        return end(state, request_id, None)
    if any(write and request_id in write.new_holds for write in (state.in_flight, *state.replaced)):
        state.requests.give_up(request_id)
    else:
        state.requests.forget([request_id])
    return state


def end(state: LeaseState, request_id: int, receipt: Receipt | None) -> LeaseState:
    """An open request ended: it is charged by the receipt, or released without one. Only the first end counts."""
    request = state.requests.get(request_id)
    if request and request.phase is Phase.OPEN:
        state.requests.end(request_id, receipt)
    return state


def progress(state: LeaseState, used: Mapping[int, int]) -> LeaseState:
    """Note how many tokens may be used by the next renewal, by request id; the next will is made of it."""
    for request_id, tokens in used.items():
        state.requests.progress(request_id, tokens)
    return state


def is_settled(state: LeaseState) -> bool:
    """Whether a `commit` would surely write nothing but a renewal."""
    is_swept = state.lease is not None and state.lease.number < 0
    return not (state.requests.waiting or state.requests.unsettled or is_swept or state.most_new is not None)


def commit(state: LeaseState, terms: Terms, put: Set[str], *, renew: bool = False, deny: bool = False) -> Write | None:
    """The write that brings the book up to date with the requests; None if there is nothing to write.

    `put` are keys of receipts known to be in `usage`. `renew` asks for a new expiry and will while requests are open.
    `deny` leaves out new holds, and always makes a write. A swept lease is revived first, without new holds.
    """
    lease, requests = state.lease, state.requests
    revives = lease is not None and lease.number < 0
    new_holds = {} if revives or deny or not requests.waiting else _new_holds(state)
    outbox = [receipt for receipt in (lease.receipts if lease else ()) if receipt.key not in put]
    ends = (*requests.released, *_chargeable(state, outbox, MOST_RECEIPTS - len(outbox) - revives))
    shrinks = state.most_new is not None and lease is not None and len(outbox) < len(lease.receipts)
    if not (new_holds or ends or revives or deny or shrinks or (renew and requests.holding > len(ends))):
        return None
    outbox += [r.charged_by(terms.number) for i in ends if (r := requests.charged.get(i))]
    if lease is not None and revives:
        outbox.append(verbs.own_receipt("late", state.process, terms.number, terms.now, -lease.will))
    holding = requests.holding - len(ends) + len(new_holds)
    held, will = _held(state, new_holds, ends)
    least_expiry = lease.expires_at if lease and not revives else 0
    expires_at = max(terms.now + terms.lease_seconds, state.fence + 1, least_expiry)
    new = Lease(held, will, terms.number, expires_at, tuple(outbox), holding)
    return verbs.commit(state.process, lease, new, new_holds, ends)


def send(state: LeaseState, write: Write) -> LeaseState:
    """The state with this commit in flight."""
    return state._replace(in_flight=write)


def timed_out(state: LeaseState) -> LeaseState:
    """An attempt at the commit in flight was not answered: it may be applied at any later time, or never."""
    return state._replace(may_still_arrive=True)


def applied(state: LeaseState, won: Write, found: Lease | None = None) -> LeaseState:
    """The commit `won` is in the book: its holds are open, what it ended is settled. `found`: the lease in the book."""
    state.requests.forget(won.ends)
    for request_id, tokens in won.new_holds.items():
        state.requests.hold(request_id, tokens)
    return _landed(_without_given_up(state), found or won.lease)


def saw(state: LeaseState, book: Book) -> LeaseState:
    """The book was shown, with so many leases."""
    leases = max(1, len(book.leases))
    return state if leases == state.leases else state._replace(leases=leases)


def refused(state: LeaseState, book: Book, terms: Terms, put: Set[str], *, is_too_big: bool = False) -> LeaseState:
    """The book refused the commit in flight, and is shown: what became of that commit, and of its requests.

    The new state has nothing in flight, or the commit to send next. Raises ValueError if this process cannot have
    written the lease: two processes have one id.
    """
    write, lease = state.in_flight, book.leases.get(state.process)
    assert write is not None
    assert write.lease is not None
    if lease is None and (write.expected_number is not None or book.fence >= write.lease.expires_at):
        return _landed(_without_all_but_waiting(state), None, book.fence)  # swept and removed: what was open is final
    if lease is not None and (won := _won(state, lease)):
        return applied(state, won, lease)
    if lease is not None and lease.number < 0 and not (is_too_big and write.expected_number == lease.number):
        return _landed(_without_given_up(state), lease)  # swept, and this commit was not in: now it never will be
    if lease is not None and write.expected_number not in (None, lease.number):
        raise ValueError(f"process {state.process} lost track of its lease")
    if is_too_big:
        return _too_big(state._replace(lease=lease), write, terms, put)
    return _out_of_room(state._replace(lease=lease), write, book, terms, put)


def _won(state: LeaseState, lease: Lease) -> Write | None:
    return next((write for write in (state.in_flight, *state.replaced) if write and write.is_in(lease)), None)


def _out_of_room(state: LeaseState, write: Write, book: Book, terms: Terms, put: Set[str]) -> LeaseState:
    if state.may_still_arrive:  # a lost attempt may still arrive and win: shut it out before its requests wait again
        without = commit(_lasting(state, write), terms, put, deny=True)
        return state._replace(in_flight=without, replaced=(*state.replaced, write))
    if write.expected_number is None and state.lease is not None:  # its own, from before it forgot the book
        return _landed(_without_given_up(state), state.lease)
    return _denied(state, write, book)


def _too_big(state: LeaseState, write: Write, terms: Terms, put: Set[str]) -> LeaseState:
    if not state.may_still_arrive:
        charged = sum(request_id in state.requests.charged for request_id in write.ends)
        return _landed(_without_given_up(state), state.lease)._replace(most_new=charged // 2, room=state.room)
    smaller = commit(_lasting(state._replace(most_new=0), write), terms, put, deny=True)
    assert smaller is not None
    assert smaller.lease is not None
    assert write.lease is not None
    if write.new_holds or len(smaller.lease.receipts) < len(write.lease.receipts):
        return state._replace(in_flight=smaller, replaced=(*state.replaced, write))
    return state  # the same again, until the others leave room for it


def _lasting(state: LeaseState, write: Write) -> LeaseState:
    """A commit that takes the place of this one ends no sooner: the fence of its lease must keep out what is late."""
    assert write.lease is not None
    return state._replace(fence=max(state.fence, write.lease.expires_at - 1))


def _denied(state: LeaseState, write: Write, book: Book) -> LeaseState:
    room, most_new = book.left + write.left_by + sum(write.new_holds.values()), state.most_new
    state = _without_given_up(_landed(state, state.lease))
    asked = [(i, state.requests.waiting[i]) for i in write.new_holds if i in state.requests]
    fits = verbs.fit(asked, room)
    state.requests.forget([i for i, _ in asked if i not in fits])
    return state._replace(room=room if fits else None, most_new=most_new)


def _new_holds(state: LeaseState) -> dict[int, int]:
    waiting = state.requests.waiting.items()
    return verbs.fit(waiting, state.room) or verbs.fit(waiting, None)


def _chargeable(state: LeaseState, outbox: Sequence[Receipt], most: int) -> Iterator[int]:
    """The oldest of those that ended with a charge, as many as there is room for their receipts."""
    room = min(MOST_BYTES, SHARED_BYTES // state.leases) - sum(map(bytes_in_lease, outbox))
    alone = not outbox
    most = max(0, most if state.most_new is None else min(most, state.most_new))
    for request_id, receipt in islice(state.requests.charged.items(), most):
        room -= bytes_in_lease(receipt)
        if room < 0 and not alone:
            return
        alone = False
        yield request_id


def _held(state: LeaseState, new_holds: Mapping[int, int], ends: tuple[int, ...]) -> tuple[int, int]:
    """Tokens held with `new_holds` in and `ends` out, and what to charge for them if this process is lost."""
    requests = state.requests
    held, will = requests.held, requests.will
    for request_id in ends:
        request = requests[request_id]
        held, will = held - request.held, will - request.will
    for request_id, tokens in new_holds.items():
        held, will = held + tokens, will + min(tokens, requests[request_id].used)
    return held, will


def _landed(state: LeaseState, lease: Lease | None, fence: int = -1) -> LeaseState:
    """Nothing is in flight any more. A later lease ends no sooner than any that this process ever wrote."""
    wrote = state.in_flight.lease.expires_at - 1 if state.in_flight and state.in_flight.lease else -1
    fence = max(state.fence, fence, wrote)
    return LeaseState(state.process, state.requests, lease, fence=fence, leases=state.leases)


def _without_given_up(state: LeaseState) -> LeaseState:
    state.requests.forget([*state.requests.gave_up])
    return state


def _without_all_but_waiting(state: LeaseState) -> LeaseState:
    state.requests.forget(state.requests.keys() - state.requests.waiting.keys())
    return state
