"""Pure: a client's book with its leases, and what changes them, as values. The theory is in `gptdock.ledger`.

Every write of a process has one form, `Write`: if the number of the lease is `expected_number` (None: if there is no
lease), then `left += left_by`, `used += used_by`, lease := the new one. What an operator does is a `Change`, which is
applied once, since its receipt must be new. `verbs` makes both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gptdock.accounts import Account
from gptdock.errors import Code

MARGIN_TOKENS = 8  # what our count of a prompt may be short of the upstream's
LEAST_COMPLETION_TOKENS = 16  # a minimal answer


# Where the number of a charge comes from: the upstream, our count, a will charged or taken back, an operator.
Source = Literal["upstream", "counted", "lost", "late", "set_quota", "reset", "credit", "import", "forget"]
# How a request ended, in logs, metrics and receipts. An error is named by its code, also one within a stream.
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
    outcome: str  # an Outcome, or the source; of `lost` also `requests: 3`; for a change see `admin.changes`
    process: str
    commit: int = 0
    cached_tokens: int = 0  # of `prompt_tokens`
    reasoning_tokens: int = 0

    def charged_by(self, commit: int) -> "Receipt":
        """The receipt as the commit of this number charges it; `_replace` would take a microsecond more."""
        return Receipt(*self[:9], commit, *self[10:])


class Client(NamedTuple):
    """An account with its standing quota in tokens, which its new books begin with.

    If it `follows_default`, they begin with DEFAULT_TOKEN_QUOTA as it is then; `max_quota` is what that was when set.
    """

    account: Account
    max_quota: int
    created_at: str
    follows_default: bool = False


class Lease(NamedTuple):
    """One process's part of a book: `held` and `will` of its `requests`, in tokens; `expires_at` in Unix seconds."""

    held: int
    will: int
    number: int
    expires_at: int
    receipts: tuple[Receipt, ...] = ()
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Book:
    """One client's numbers for one product and period; no lease is created that expires at or before `fence`.

    It was seen like this at `seen_at`, in Unix seconds of DynamoDB: by that its leases are judged. It has had
    `resets` resets.
    """

    max: int
    left: int
    used: int
    fence: int = -1
    leases: Mapping[str, Lease] = field(default_factory=dict)
    seen_at: int = field(default=0, compare=False)
    resets: int = 0

    @property
    def held(self) -> int:
        """Tokens on hold, of all processes."""
        return sum(lease.held for lease in self.leases.values())


class Write(NamedTuple):
    """One conditional update of a book. `needed` is the least `left` for it; None: it may take `left` below 0.

    `expected_will`, of a revival, is the will that it takes back, which a reset may have taken back before.
    `new_holds` are tokens by request id, `ends` the requests that it ends; the book does not store either.
    """

    process: str
    expected_number: int | None
    lease: Lease | None
    left_by: int = 0
    used_by: int = 0
    needed: int | None = None
    fence: int | None = None
    expected_will: int | None = None
    new_holds: Mapping[int, int] = {}
    ends: tuple[int, ...] = ()

    def is_in(self, lease: Lease) -> bool:
        """Whether the lease, as found in the book, shows that this write was applied, also if it was swept since."""
        return self.lease is not None and abs(lease.number) == self.lease.number


class Change(NamedTuple):
    """What an operator does to a book, with a receipt that must be new; `max` must be `old_max`, if that is given.

    A reset is only for a book that had `resets` of them, so that it never gives back what came after another one.
    `late` are receipts that take back wills of swept leases: each lease must still have this will, and the `commit` of
    its receipt as its number. `once` is an id: of all changes of an account with the same, one is applied. With an
    `old_max`, `follows_default` says whether the standing quota follows DEFAULT_TOKEN_QUOTA from then on.
    """

    receipt: Receipt
    left_by: int
    used_by: int = 0
    max_by: int = 0
    old_max: int | None = None
    late: tuple[Receipt, ...] = ()
    once: str = ""
    follows_default: bool = False
    resets: int | None = None


class Demand(NamedTuple):
    """What a request asks to hold, in tokens: `full` for the full answer, `least` for a minimal one."""

    full: int
    least: int

    @classmethod
    def of(cls, prompt_tokens: int, completion_tokens: int) -> "Demand":
        """The demand of a request whose prompt was counted, for an answer of at most `completion_tokens`."""
        base = prompt_tokens + MARGIN_TOKENS
        return cls(base + completion_tokens, base + min(completion_tokens, LEAST_COMPLETION_TOKENS))


class Terms(NamedTuple):
    """What a commit is decided with besides the state: a fresh number, the Unix time, the seconds of a lease.

    `now` is a time that DynamoDB's has not passed, so that no lease is shorter than it should be.
    """

    number: int
    now: int
    lease_seconds: int
