"""When the wills of a book's requests must be written anew, and what each may have used by the time after that.

All are renewed together every PROGRESS_SECONDS. A request whose model is unknown is renewed sooner, too, while it is
young (`rates`). To count the text of one takes up to a millisecond, and a client may have a thousand: so only those are
counted whose will is due. Holds that wait come first, without a turn of the loop, which takes long on a busy machine.
"""

import asyncio
from collections.abc import Callable

from gptdock.ledger.rates import FIRST_RENEWAL_SECONDS
from gptdock.ledger.rules import Outlook

COUNTED_AT_ONCE = 16  # open requests whose text is counted before waiting holds, and then others, get their turn
SLACK_SECONDS = 0.001  # that a time may be inexact


class Renewals:
    """The renewals of one book. `next_at` is the time of the event loop when `count` may have something to do."""

    def __init__(self, most_seconds: float) -> None:
        self.next_at = 0.0
        self._loop = asyncio.get_running_loop()  # once: until Python 3.12, each look at it asks the kernel
        self._most_seconds = most_seconds
        self._outlooks: dict[int, Outlook] = {}
        self._all_at = 0.0
        self._sooner: dict[int, float] = {}  # when those are due that cannot wait until all are
        self._counted: dict[int, int] = {}
        self._counts_all, self._since = False, 0.0

    def begin(self, request_id: int, outlook: Outlook) -> int:
        """A request begins: its will until it is due, in tokens."""
        now = self._loop.time()
        if not self._outlooks and now >= self._all_at and not self._counts_all:
            # The only one: the commit of its hold dates the lease.
            self._all_at = self.next_at = now + self._most_seconds
        self._outlooks[request_id] = outlook
        will = self._will(request_id, outlook, now, self._seconds_from(now))
        self.next_at = min(self.next_at, self._sooner.get(request_id, self._all_at))
        return will

    def end(self, request_id: int) -> bool:
        """A request ended; False if it had before."""
        self._sooner.pop(request_id, None)
        return self._outlooks.pop(request_id, None) is not None

    def name(self, request_id: int) -> str | None:
        """The id by which its caller knows a request that has not ended."""
        outlook = self._outlooks.get(request_id)
        return outlook.request_id if outlook else None

    def all_at_once(self) -> None:
        """All are due now."""
        self.next_at = self._all_at = 0.0

    def may_be_due(self) -> bool:
        """Whether `count` may have something to do now."""
        return self._counts_all or self._loop.time() >= self.next_at

    async def count(self, holds_wait: Callable[[], bool]) -> dict[int, int] | None:
        """The wills of the requests that are due, in tokens by request id.

        None if nothing is due, or if the rest must be counted later, since holds wait.
        """
        if (due := self._due(self._loop.time())) is None:
            return None
        for number, request_id in enumerate([i for i in due if i not in self._counted], 1):
            if outlook := self._outlooks.get(request_id):
                now = self._loop.time()
                seconds = self._most_seconds if self._counts_all else self._seconds_from(now)
                self._counted[request_id] = self._will(request_id, outlook, now, seconds)
            if number % COUNTED_AT_ONCE == 0:
                if holds_wait():
                    return None
                await asyncio.sleep(0)
        return self._done()

    def _due(self, now: float) -> list[int] | None:
        """The requests that are to be counted now, with those that would be due in a moment; None: not now."""
        soon = now + FIRST_RENEWAL_SECONDS
        due = [request_id for request_id, due_at in self._sooner.items() if due_at < soon]
        if not self._counts_all and (now >= self._all_at or len(due) == len(self._outlooks)):
            self._counts_all, self._since = True, now
            self._counted.clear()
        if self._counts_all:
            return list(self._outlooks)
        self._set_next()
        return due or None

    def _seconds_from(self, now: float) -> float:
        """How long a will must last. All may be overdue: then it lasts as long as any, since a renewal is late."""
        return self._all_at - now if now < self._all_at else self._most_seconds

    def _will(self, request_id: int, outlook: Outlook, now: float, seconds: float) -> int:
        """The will of a request for so many seconds, or until it is due sooner."""
        seconds = min(seconds, outlook.pace.renew_after(now, self._most_seconds))
        all_at = self._since + self._most_seconds if self._counts_all else self._all_at
        if now + seconds < all_at - SLACK_SECONDS:
            self._sooner[request_id] = now + seconds
        else:
            self._sooner.pop(request_id, None)
        return outlook.will(seconds)

    def _done(self) -> dict[int, int]:
        if self._counts_all:
            self._counts_all, self._all_at = False, self._since + self._most_seconds
        counted, self._counted = self._counted, {}
        self._set_next()
        return counted

    def _set_next(self) -> None:
        self.next_at = min((self._all_at, *self._sooner.values()))
