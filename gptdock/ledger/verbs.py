"""Pure: the verbs that change a book, as functions from values to writes. Their table is in `gptdock.ledger`."""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Literal

from gptdock import moments
from gptdock.errors import QuotaExceeded, QuotaOnHold
from gptdock.ledger import periods
from gptdock.ledger.book import Book, Change, Demand, Lease, Receipt, Write
from gptdock.quotas import Quota

MOST_WILLS = 50  # that one reset takes back: DynamoDB takes 300 operators in its expression


def fit(waiting: Iterable[tuple[int, Demand]], room: int | None) -> dict[int, int]:
    """Tokens to hold, by request id, for the requests that fit into `room`, in their order; None: in full for all.

    Where less is left than the full answer may need, the hold is what is left, if that is enough for a minimal answer.
    A later, smaller request may fit where an earlier one did not.
    """
    holds = {}
    for request_id, demand in waiting:
        if room is None:
            holds[request_id] = demand.full
        elif room >= demand.least:
            holds[request_id] = min(demand.full, room)
            room -= holds[request_id]
    return holds


def denial(demand: Demand, book: Book, period: str) -> QuotaExceeded:
    """Why this demand is denied by a book: QuotaOnHold, a kind of it, if it would fit with nothing held."""
    kind = QuotaOnHold if book.left + book.held >= demand.least else QuotaExceeded
    renewal = periods.resets_at(period) if kind is QuotaExceeded else None
    error = kind(
        f"{kind.message} It needs {demand.least} tokens at least; {max(0, book.left)} are left, {book.held} on hold."
        + (f" The quota renews at {renewal}." if renewal else "")
    )
    error.quota = Quota(book.max, book.left, book.held, periods.end(period))
    return error


def commit(process: str, lease: Lease | None, new: Lease, new_holds: Mapping[int, int], ends: tuple[int, ...]) -> Write:
    """Replace the lease by `new`, and charge the receipts that it adds; this revives a lease that was swept."""
    known = frozenset(receipt.key for receipt in lease.receipts) if lease else frozenset()
    used_by = sum(receipt.tokens for receipt in new.receipts if receipt.key not in known)
    left_by = (lease.held if lease else 0) - new.held - used_by
    return Write(
        process=process,
        expected_number=lease.number if lease else None,
        lease=new,
        left_by=left_by,
        used_by=used_by,
        needed=-left_by if new_holds else None,
        expected_will=lease.will if lease and lease.number < 0 else None,
        new_holds=new_holds,
        ends=ends,
    )


def sweep(
    process: str, lease: Lease, now: int, retain_seconds: int, put: Set[str] = frozenset(), user: str = "-"
) -> Write:
    """End a lease by its will. It is kept for `retain_seconds`, so that its process can come back and revive it.

    `put` are keys of receipts known to be in `usage`. The new receipt tells how many requests held the tokens, and
    names `user`, the operator who ended the lease, if any.
    """
    outcome = f"requests: {lease.requests}" if lease.requests else "lost"
    lost = own_receipt("lost", process, lease.number, now, lease.will)._replace(user=user, outcome=outcome)
    receipts = (*(receipt for receipt in lease.receipts if receipt.key not in put), lost)
    swept = Lease(0, lease.will, -lease.number, now + retain_seconds, receipts, lease.requests)
    return Write(process, lease.number, swept, left_by=lease.held - lease.will, used_by=lease.will)


def remove(process: str, lease: Lease, fence: int) -> Write:
    """Take away an expired, empty lease whose receipts are all put; `fence` is the book's, as read."""
    return Write(process, lease.number, None, fence=max(fence, lease.expires_at))


def set_max(old_max: int, new_max: int, receipt: Receipt, *, follows_default: bool = False) -> Change:
    """Change the standing quota, and the book's `max` with it. `left` may fall below 0; then no hold fits."""
    by = new_max - old_max
    return Change(receipt, left_by=by, max_by=by, old_max=old_max, follows_default=follows_default)


def credit(tokens: int, receipt: Receipt, once: str) -> Change:
    """Raise the `max` of one book, for this period only. What was used stays, so no will or revival can undo it."""
    return Change(receipt, left_by=tokens, max_by=tokens, once=once)


def bring(old_max: int, new_max: int, used: int, receipt: Receipt, once: str) -> Change:
    """Set the standing quota and charge what was used elsewhere; the receipts of both sum to `used`."""
    by = new_max - old_max
    return Change(receipt, left_by=by - used, used_by=used, max_by=by, old_max=old_max, once=once)


def reset(book: Book, receipt: Receipt, now: int) -> Change:
    """Give back what the book, as read, has used: the wills of swept leases by a receipt each, the rest by `receipt`.

    A process that comes back then has no will to take back. More than MOST_WILLS stay charged, until the next reset.
    """
    swept = [(name, lease) for name, lease in book.leases.items() if lease.number < 0 and lease.will]
    late = tuple(own_receipt("late", name, lease.number, now, -lease.will) for name, lease in swept[:MOST_WILLS])
    back = book.used - sum(lease.will for _, lease in swept[MOST_WILLS:])
    taken = sum(receipt.tokens for receipt in late)
    rest = receipt._replace(tokens=-back - taken)
    return Change(rest, left_by=back, used_by=-back, late=late, resets=book.resets)


def expired(book: Book, grace_seconds: int) -> Iterator[tuple[str, Lease]]:
    """The leases that had ended when the book was seen: to be swept if they hold tokens, otherwise to be removed."""
    return ((name, lease) for name, lease in book.leases.items() if lease.expires_at + grace_seconds < book.seen_at)


def own_receipt(source: Literal["lost", "late"], process: str, number: int, now: int, tokens: int) -> Receipt:
    """The receipt of a lease, not of one request: for a will that was charged (`lost`) or taken back (`late`)."""
    key = f"{moments.text(now)}#{source}#{process}.{number}"
    return Receipt(key, tokens, 0, 0, "-", "-", source, source, process, number)
