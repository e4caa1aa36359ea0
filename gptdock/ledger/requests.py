"""Pure: the requests of one process on one book, and what each commit needs to know of all of them.

A commit holds, charges and promises for all requests at once, and there may be a thousand. So their sums, and those of
them that wait, gave up or ended, are kept up to date with each change instead of being found anew for each commit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Self

from gptdock.ledger.book import Demand, Receipt


class Phase(Enum):
    """The phase of a request of this process."""

    WAITS = "waits"
    GAVE_UP = "gave up"
    OPEN = "open"
    ENDED = "ended"


@dataclass(slots=True)
class Request:
    """One request: the tokens that it holds, and those that may be `used` by its next renewal.

    One that ended has used what its receipt charges, and holds no more than that until its charge is in the book.
    """

    phase: Phase
    used: int
    held: int = 0

    @property
    def will(self) -> int:
        """What to charge for it if the process is never heard of again."""
        return self.used if self.used < self.held else self.held  # `min` takes three times as long


class Requests(dict[int, Request]):
    """All requests by id. `waiting` has what those demand that wait, and `charged` the receipts of those that ended
    with one; `gave_up` and `released`, which ended without, have ids only. Each has its oldest first.

    `held` are the tokens on hold for all that hold some, and `will` what to charge for these if the process is never
    heard of again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[int, Demand] = {}
        self.gave_up: dict[int, None] = {}
        self.released: dict[int, None] = {}
        self.charged: dict[int, Receipt] = {}
        self.held = self.will = 0

    def wait(self, request_id: int, demand: Demand, used: int) -> None:
        """A request begins to wait."""
        self[request_id] = Request(Phase.WAITS, used)
        self.waiting[request_id] = demand

    def give_up(self, request_id: int) -> None:
        """One that waits does no longer, but its hold may yet come."""
        self[request_id].phase = Phase.GAVE_UP
        del self.waiting[request_id]
        self.gave_up[request_id] = None

    def hold(self, request_id: int, tokens: int) -> None:
        """The hold of one is in the book: if it waited for that it is open, if it gave up it ended."""
        request = self[request_id]
        if self.waiting.pop(request_id, None):
            request.phase = Phase.OPEN
        else:
            request.phase = Phase.ENDED
            self.released[request_id] = self.gave_up.pop(request_id, None)
        self._change(request, request.used, tokens)

    def progress(self, request_id: int, used: int) -> None:
        """So many tokens may be used by its next renewal; nothing if it ended since they were counted."""
        request = self.get(request_id)
        if request and request.phase is not Phase.ENDED:
            self._change(request, used, request.held)

    def end(self, request_id: int, receipt: Receipt | None) -> None:
        """An open one ended: it is to be charged by the receipt, or released without one."""
        request = self[request_id]
        request.phase = Phase.ENDED
        if receipt:
            self.charged[request_id] = receipt
            self._change(request, receipt.tokens, min(receipt.tokens, request.held))
        else:
            self.released[request_id] = None

    def forget(self, request_ids: Iterable[int]) -> None:
        """These are denied, or charged or released in the book."""
        for request_id in request_ids:
            if request := self.pop(request_id, None):
                self.held -= request.held
                self.will -= request.will
                for some in (self.charged, self.waiting, self.released, self.gave_up):
                    some.pop(request_id, None)

    def fork(self) -> Self:
        """A copy, of which changes leave these as they are."""
        fork = type(self)()
        fork.update({i: Request(each.phase, each.used, each.held) for i, each in self.items()})
        fork.waiting, fork.gave_up = self.waiting.copy(), self.gave_up.copy()
        fork.released, fork.charged = self.released.copy(), self.charged.copy()
        fork.held, fork.will = self.held, self.will
        return fork

    @property
    def holding(self) -> int:
        """The number of requests that hold tokens: while they are open, and ended until that is in the book."""
        return len(self) - len(self.waiting) - len(self.gave_up)

    @property
    def unsettled(self) -> int:
        """The number of requests that ended and are not yet charged or released in the book."""
        return len(self.released) + len(self.charged)

    def _change(self, request: Request, used: int, held: int) -> None:
        self.held -= request.held
        self.will -= request.will
        request.used, request.held = used, held
        self.held += held
        self.will += request.will
