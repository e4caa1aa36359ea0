"""Pure: a client's book and the leases on it, as values.

A book is one client's numbers for one product and period. Each process that serves the client has one lease on it:
what it holds, its will (what to charge if it is never heard of again) and the receipts not yet known to be put.
`left + used + sum(held) = max`, always.

Every write to a lease has one form: if its number is `expected_number` (None: if there is no lease), then
`left += left_by`, `used += used_by`, lease := the new one. What an operator does is a `Change`: once only, since its
receipt must be new.

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

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gptdock.accounts import Account
from gptdock.errors import Code

MARGIN_TOKENS = 8  # what our count of a prompt may be short of the upstream's
LEAST_COMPLETION_TOKENS = 16  # a minimal answer


# What says how much a receipt charges: the upstream, our count, a will charged or taken back, an operator.
Source = Literal["upstream", "counted", "lost", "late", "set_quota", "reset"]
# How a request ended, in logs, metrics and receipts: an error goes by its code, also one that came within a stream.
Outcome = Literal["complete", "caller_left", "released"] | Code


class Receipt(NamedTuple):
    """What one request was charged, and why; `key` sorts by time and is unique for its client."""

    key: str
    tokens: int
    prompt_tokens: int
    completion_tokens: int
    user: str
    model: str
    source: Source
    outcome: str  # an Outcome; of a lease or an operator its source, or what was changed into what
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
    """One conditional update of a book; `needed` is the least `left` it needs, `new_holds` the new holds in it."""

    process: str
    expected_number: int | None
    lease: Lease | None
    left_by: int = 0
    used_by: int = 0
    needed: int | None = None
    fence: int | None = None
    new_holds: Mapping[int, int] = {}
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


class Demand(NamedTuple):
    """A wish for a hold: tokens for the full answer, and for a minimal one."""

    full: int
    least: int

    @classmethod
    def of(cls, prompt_tokens: int, completion_tokens: int) -> "Demand":
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
