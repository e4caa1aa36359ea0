"""A client's book and the leases on it, as values; the verbs that change them, as functions from values to values.

A book is one client's numbers for one product and period. Each process that serves the client has one lease on it:
what it holds, its will (what to charge if it is never heard of again) and the receipts not yet known to be put.
`left + used + sum(held) = max`, always.

Every write to a lease has one form: if its number is `seen` (None: if there is no lease), then `left += left_by`,
`used += used_by`, lease := the new one. What an operator does is a `Change`: once only, since its receipt must be new.

| verb   | by                       | what                                                       | also needs       |
|--------|--------------------------|------------------------------------------------------------|------------------|
| commit | its process              | all that waits: holds, settles, progress, releases at once | new holds fit    |
| revive | its process, number < 0  | a commit without new holds that takes back what was swept  |                  |
| sweep  | who sees it end, held    | charges the will, frees the rest, number := -number        |                  |
| remove | who sees it end, empty   | takes the lease away and raises the fence to its expiry    | all receipts put |
| set    | an operator              | `max` and `left` by the difference, as a receipt says      | `max` as read    |
| reset  | an operator              | gives what was used back, as a receipt says                | so much is used  |

What a process knows of its own lease, and what it learns from answers, is the room `side`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from gptdock.accounts import Account

MARGIN_TOKENS = 8  # what our count of a prompt may be short of the upstream's
LEAST_COMPLETION_TOKENS = 16  # a minimal answer


class Receipt(NamedTuple):
    """What one request was charged, and why; `key` sorts by time and is unique for its client."""

    key: str
    tokens: int
    prompt_tokens: int
    completion_tokens: int
    user: str
    model: str
    source: str
    outcome: str
    process: str
    commit: int = 0


class Client(NamedTuple):
    """An account with its standing quota in tokens; books that are new begin with it."""

    account: Account
    max_quota: int
    created_at: str


class Lease(NamedTuple):
    """One process's part of a book: tokens `held` and to charge by `will`, expiry in epoch seconds."""

    held: int
    will: int
    number: int
    expires_at: int
    receipts: tuple[Receipt, ...] = ()


@dataclass(frozen=True, slots=True)
class Book:
    """One client's numbers for one product and period; no lease is created that expires at or before `fence`."""

    max: int
    left: int
    used: int
    fence: int = -1
    leases: Mapping[str, Lease] = field(default_factory=dict)

    @property
    def held(self) -> int:
        """Tokens on hold, of all processes."""
        return sum(lease.held for lease in self.leases.values())


class Write(NamedTuple):
    """One conditional update of a book; `needed` is the least `left` it needs, `asks` the new holds in it."""

    verb: str
    process: str
    seen: int | None
    lease: Lease | None
    left_by: int = 0
    used_by: int = 0
    needed: int | None = None
    fence: int | None = None
    asks: Mapping[int, int] = {}
    ends: tuple[int, ...] = ()

    def is_in(self, lease: Lease) -> bool:
        """Whether the lease, as found in the book, shows that this write was applied (swept since, or not)."""
        return self.lease is not None and abs(lease.number) == self.lease.number


class Change(NamedTuple):
    """What an operator does to a book, together with its receipt, which must be new; `old_max`: as `max` must be."""

    receipt: Receipt
    left_by: int
    used_by: int = 0
    max_by: int = 0
    old_max: int | None = None


class Ask(NamedTuple):
    """A wish for a hold: tokens for the full answer, and for a minimal one."""

    full: int
    least: int

    @classmethod
    def of(cls, prompt_tokens: int, completion_tokens: int) -> "Ask":
        """The upper bound of what a request may use, and the least that is worth sending (DESIGN 3)."""
        base = prompt_tokens + MARGIN_TOKENS
        return cls(base + completion_tokens, base + min(completion_tokens, LEAST_COMPLETION_TOKENS))


class Terms(NamedTuple):
    """What a write is decided with besides the book: a fresh number, the time in epoch seconds, what leases are given.

    `allowance` is what a will adds, in tokens, for what comes before the next commit.
    """

    number: int
    now: int
    lease_seconds: int
    allowance: int


def fit(waiting: Iterable[tuple[int, Ask]], room: int | None) -> dict[int, int]:
    """Tokens to hold for those that `room` has place for, first come first served; all in full if it is unknown.

    Where less is left than the full answer may need, the hold is what is left, if that is enough for a minimal one.
    A later, smaller request may fit where an earlier one did not.
    """
    holds = {}
    for request_id, ask in waiting:
        if room is None:
            holds[request_id] = ask.full
        elif room >= ask.least:
            holds[request_id] = min(ask.full, room)
            room -= holds[request_id]
    return holds


def commit(process: str, lease: Lease | None, new: Lease, asks: Mapping[int, int], ends: tuple[int, ...]) -> Write:
    """Make `new` of the lease: hold what it says, charge the receipts that it adds. A swept lease is revived."""
    known = frozenset(receipt.key for receipt in lease.receipts) if lease else frozenset()
    used_by = sum(receipt.tokens for receipt in new.receipts if receipt.key not in known)
    left_by = (lease.held if lease else 0) - new.held - used_by
    return Write(
        verb="revive" if lease and lease.number < 0 else "commit",
        process=process,
        seen=lease.number if lease else None,
        lease=new,
        left_by=left_by,
        used_by=used_by,
        needed=-left_by if asks else None,
        asks=asks,
        ends=ends,
    )


def sweep(process: str, lease: Lease, now: int, retain_seconds: int) -> Write:
    """End the lease of a lost process by its will; kept for `retain_seconds`, so that the process can come back."""
    lost = own_receipt("lost", process, lease.number, now, lease.will)
    swept = Lease(0, lease.will, -lease.number, now + retain_seconds, (*lease.receipts, lost))
    return Write("sweep", process, lease.number, swept, left_by=lease.held - lease.will, used_by=lease.will)


def remove(process: str, lease: Lease, fence: int) -> Write:
    """Take away an expired, empty lease whose receipts are all put; `fence` is the book's as read."""
    return Write("remove", process, lease.number, None, fence=max(fence, lease.expires_at))


def set_max(old_max: int, new_max: int, receipt: Receipt) -> Change:
    """Another standing quota, in the running period too; `left` may fall below 0, and then nothing more is held."""
    by = new_max - old_max
    return Change(receipt, left_by=by, max_by=by, old_max=old_max)


def reset(used: int, receipt: Receipt) -> Change:
    """Start the running period anew: `used`, as read, is given back, and the receipt says so."""
    return Change(receipt._replace(tokens=-used), left_by=used, used_by=-used)


def expired(book: Book, now: int, grace_seconds: int) -> Iterator[tuple[str, Lease]]:
    """The leases that ended, by process: to be swept if they hold tokens, else to be removed."""
    return ((name, lease) for name, lease in book.leases.items() if lease.expires_at + grace_seconds < now)


def own_receipt(source: str, process: str, number: int, now: int, tokens: int) -> Receipt:
    """A receipt that no single request stands behind: a will that was charged (`lost`), or taken back (`late`)."""
    key = f"{moment(now)}#{source}#{process}.{number}"
    return Receipt(key, tokens, 0, 0, "-", "-", source, source, process, number)


def moment(now: float) -> str:
    """Epoch seconds as `2026-11-23T05:05:45.000Z`: sorts as text, starts like its period."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
