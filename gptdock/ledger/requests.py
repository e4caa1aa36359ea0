"""Pure: the requests of one process on one book, and what each commit needs to know of all of them.

A commit holds, charges and promises for all requests at once, and there may be a thousand. So their sums, and those of
them that wait, gave up or ended, are kept up to date with each change instead of being found anew for each commit.
"""

from enum import Enum
from typing import NamedTuple, Self

from gptdock.ledger.book import Demand, Receipt


class Phase(Enum):
    """The phase of a request of this process."""

    WAITS = "waits"
    GAVE_UP = "gave up"
    OPEN = "open"
    ENDED = "ended"


_HOLD = (Phase.OPEN, Phase.ENDED)


class Request(NamedTuple):
    """One request: what it asks to hold, what it holds, and the tokens that may be `used` by its next renewal."""

    demand: Demand
    used: int
    phase: Phase = Phase.WAITS
    held: int = 0
    receipt: Receipt | None = None

    @property
    def holds(self) -> bool:
        """Whether it holds tokens: while it is open, and when it ended until its charge is in the book."""
        return self.phase in _HOLD


class Requests(dict[int, Request]):
    """All requests by id. `waiting` and `gave_up` are those of a phase, oldest first; of those that ended, `charged`
    have a receipt, and `released` have none.

    `held` are the tokens on hold for all that hold some, and `will` what to charge for these if the process is never
    heard of again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[int, Request] = {}
        self.gave_up: dict[int, Request] = {}
        self.released: dict[int, Request] = {}
        self.charged: dict[int, Request] = {}
        self.holding = self.held = self.will = 0

    def put(self, request_id: int, request: Request | None) -> None:
        """Let this be the request of that id; None: it is gone."""
        if before := self.pop(request_id, None):
            if (alike := self._alike(before)) is not None:
                del alike[request_id]
            if before.phase in _HOLD:
                self._count(before, -1)
        if request:
            self[request_id] = request
            if request.phase in _HOLD:
                self._count(request, 1)
            if (alike := self._alike(request)) is not None:
                alike[request_id] = request

    def share(self, request: Request) -> tuple[int, int]:
        """Tokens that one holds, and its part of the will; one whose receipt waits for room holds what it costs."""
        held, used = request.held, request.used
        if request.receipt:
            used = request.receipt.tokens
            held = used if used < held else held
        return held, used if used < held else held

    def fork(self) -> Self:
        """A copy, of which changes leave these as they are."""
        fork = type(self)()
        for request_id, request in self.items():
            fork.put(request_id, request)
        return fork

    @property
    def unsettled(self) -> int:
        """The number of requests that ended and are not yet charged or released in the book."""
        return len(self.released) + len(self.charged)

    def _alike(self, request: Request) -> dict[int, Request] | None:
        if request.phase is Phase.ENDED:
            return self.charged if request.receipt else self.released
        if request.phase is Phase.WAITS:  # not by a table: to hash a phase takes two calls
            return self.waiting
        return self.gave_up if request.phase is Phase.GAVE_UP else None

    def _count(self, request: Request, sign: int) -> None:
        held, will = self.share(request)
        self.holding += sign
        self.held += sign * held
        self.will += sign * will
