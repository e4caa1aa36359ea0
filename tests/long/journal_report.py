"""Judges what was charged for each request beside what was generated for it, and each client's book.

Where the upstream's usage was seen, both are the same. Otherwise the charge is no less than what was generated, but for
what the product says it does not charge (`gptdock.ledger`, section 6, and `gptdock.upstream`): what an upstream
generates above the limit that it was told, since a charge by count is at most the hold; and text whose event had not
arrived when the connection was closed. That is IN_FLIGHT_TOKENS at most, but for an answer that is late, as all that is
under way for longer than a deadline is: the machine was too busy to pass it on, and only its prompt is due.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gptdock.dev.journal import Record
from gptdock.ledger.book import MARGIN_TOKENS, Book, Receipt
from gptdock.ledger.charges import may_think
from tests.long.journal_requests import IN_FLIGHT_TOKENS, ROUTES, Asked

MOST_ADDED = 40  # tokens by which a prompt with a tool or a format is counted from above
MOST_LATE = 0.1  # of all requests
LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass
class Report:
    """What was asked, and how the books compare, in tokens. `failures` is empty if all promises held.

    `seen` are the requests whose usage was seen, `unequal` those of them that were not charged exactly that; `above` is
    what was generated above limits, or under way when a connection was closed, and not charged. `reached` counts the
    requests that came to the upstream, by kind and by route, and how they were charged; `late` were too late.
    """

    requests: int = 0
    generated: int = 0
    charged: int = 0
    seen: int = 0
    unequal: int = 0
    above: int = 0
    late: int = 0
    undercharge: int = 0
    overspend: int = 0
    held: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def end(self, kinds: Iterable[str]) -> None:
        """Fail if one of these kinds, a route or a way to charge was never reached: nothing would be proved of it."""
        known = (*kinds, *ROUTES, "upstream", "counted", "nothing", "denied")
        self.failures += [f"never reached: {name}" for name in known if not self.reached[name]]
        if self.late > self.requests * MOST_LATE:
            self.failures.append("the machine is too busy")


class Case(NamedTuple):
    """A request, what its attempts generated, and what it was charged."""

    asked: Asked
    records: Sequence[Record]
    receipts: Sequence[Receipt]

    @property
    def generated(self) -> int:
        return sum(record.spent for record in self.records)

    @property
    def charged(self) -> int:
        return sum(receipt.tokens for receipt in self.receipts)

    @property
    def is_seen(self) -> bool:
        return any(receipt.source == "upstream" for receipt in self.receipts)

    @property
    def told(self) -> int:
        """The usage that came."""
        return sum(record.usage["total_tokens"] for record in self.records if record.usage)

    @property
    def due(self) -> int:
        """What must be charged, usage or not."""
        return self.due_text + sum(record.prompt_tokens for record in self.records if record.spent)

    @property
    def due_text(self) -> int:
        """The part of that in answers."""
        return 0 if self.is_late else sum(self._arrived(record) for record in self.records)

    @property
    def is_late(self) -> bool:
        """Whether a deadline passed although the upstream did not stall."""
        stalls = any(script.stall_at is not None for script in self.asked.plan.scripts)
        return not stalls and self._was("upstream_timeout")

    def faults(self) -> Iterable[str]:
        """What is wrong with the charge."""
        if len(self.receipts) > 1:
            yield "charged twice"
        if self.is_seen:
            if self.charged != self.told or self.charged < self.generated:
                yield "not what was seen"
            return
        text = sum(receipt.completion_tokens for receipt in self.receipts)
        if self.charged < self.due or text < self.due_text:
            yield "too little"
        if self._most_text is not None and text > self._most_text:
            yield "too much text"
        if self.receipts and self.charged > self._hold:
            yield "more than the hold"

    def _arrived(self, record: Record) -> int:
        """Tokens of the answer that were neither above the limit nor under way."""
        is_left_silent = self._was("caller_left") and record.events == self.asked.plan.scripts[-1].stall_at
        in_flight = IN_FLIGHT_TOKENS if record.aborted and not is_left_silent else 0
        return max(0, min(record.generated, _limit(record)) - in_flight)

    def _was(self, outcome: str) -> bool:
        return any(receipt.outcome == outcome for receipt in self.receipts)

    @property
    def _hold(self) -> int:
        if not self.records:
            return 0
        record = self.records[-1]
        return record.prompt_tokens + MOST_ADDED + MARGIN_TOKENS + _limit(record)

    @property
    def _most_text(self) -> int | None:
        """All the text, where nothing can be generated unseen: in a stream that has begun, of what writes at once."""
        if not self.records:
            return 0
        [*before, last] = self.records
        begun = self.asked.body.get("stream") and last.events > IN_FLIGHT_TOKENS
        return last.generated if begun and not before and not may_think(last.model) else None


def judge(report: Report, cases: Sequence[Case], book: Book) -> None:
    """Add the requests of one client, and its book, once all are settled."""
    for case in cases:
        _count(report, case)
        for fault in case.faults():
            report.failures.append(f"{fault}: {case.charged} for {case.generated}, {case}")
    overspend = max(0, sum(case.due for case in cases) - book.max)
    report.overspend, report.held = max(report.overspend, overspend), report.held + book.held
    if overspend or book.held or book.used != sum(case.charged for case in cases):
        report.failures.append(f"book {book}")


def cases(asks: Iterable[Asked], records: Mapping[int, Sequence[Record]], receipts: Iterable[Receipt]) -> list[Case]:
    """Each request with its records and its receipts."""
    of_user = defaultdict(list)
    for receipt in receipts:
        of_user[receipt.user].append(receipt)
    return [Case(asked, records.get(asked.number, ()), of_user[f"u{asked.number}"]) for asked in asks]


def _count(report: Report, case: Case) -> None:
    report.requests += 1
    report.generated, report.charged = report.generated + case.generated, report.charged + case.charged
    report.seen, report.late = report.seen + case.is_seen, report.late + case.is_late
    report.unequal += case.is_seen and case.charged != case.told
    report.above += 0 if case.is_seen else max(0, case.generated - max(case.due, case.charged))
    report.undercharge += 0 if case.is_seen else max(0, case.due - case.charged)
    report.reached.update([str(receipt.source) for receipt in case.receipts] or ["nothing"])
    report.reached.update([case.asked.kind, case.asked.route] if case.records else ["denied"])


def _limit(record: Record) -> int:
    return next((int(record.request[name]) for name in LIMITS if record.request.get(name)), 0)
