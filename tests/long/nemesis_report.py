"""The result of a run of the nemesis: compares each book with what OpenAI generated for its client."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gptdock.admin.audit import Finding
from gptdock.dev.journal import Record
from gptdock.ledger.book import MARGIN_TOKENS, Book, Receipt
from tests.long.nemesis_caller import MOST_HELD, MOST_PROMPT_TOKENS, Client
from tests.long.nemesis_upstreams import MODELS

IN_FLIGHT_SECONDS = 0.25  # for which a model goes on after a caller or a process has left, on a busy machine
# Mishaps in which a process that was paused takes its holds again, or a smaller quota may be used up already.
MAY_OVERDRAW = ("stop", "sweep", "reset", "quota")
LIVING = ("stop", "hole", "sweep", "reset")  # mishaps in which leases of living processes are swept
KINDS = (
    *("seen", "killed", "paused", "swept", "revived", "lost answers", "402", "429"),
    *("usage table down", "forgotten book", "long ids", "set quota", "reset", "reset over a swept lease"),
    *MODELS,
)


@dataclass
class Report:
    """What happened, and how the books compare; tokens over all clients. `failures` is empty if all promises held.

    `reached` counts faults of each kind, and what they led to. `behind` are tokens whose receipts are not in `usage`.
    """

    judged: int = 0
    requests: int = 0
    generated: int = 0
    charged: int = 0
    by_wills: int = 0
    overspend: int = 0
    undercharge: int = 0
    held: int = 0
    drift: int = 0
    behind: int = 0
    wrongly_denied: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def end(self, clients: int) -> None:
        """Fail if a client was not judged, or a kind of fault never reached: the run would prove nothing about it."""
        if self.judged != clients:
            self.failures.append(f"judged: {self.judged} of {clients} clients")
        self.failures += [f"never reached: {kind}" for kind in KINDS if not self.reached[kind]]


def see(report: Report, client: Client, book: Book) -> None:
    """A client's book at any moment: its numbers add up, and no hold has taken `left` below 0."""
    report.reached["seen"] += 1
    overdrawn = book.left < 0 and client.mishap not in MAY_OVERDRAW
    if book.left + book.held + book.used != book.max or overdrawn:
        report.failures.append(f"seen: {client}: {book}")


def judge(report: Report, finding: Finding, client: Client, records: list[Record], receipts: list[Receipt]) -> None:
    """Compare a client's book with the upstream's records of it, and add the result to the report."""
    generated, reset = sum(record.spent for record in records), sum(_given_back(receipt) for receipt in receipts)
    charged = finding.book.used - sum(receipt.tokens for receipt in receipts if receipt.source == "reset")
    lost = sum(receipt.tokens for receipt in receipts if receipt.source == "lost")
    seen = generated - _in_flight(records)  # what a closed connection still carried was not seen, and its hold is free
    over, under = max(0, seen - max(client.quotas) - reset), max(0, seen - charged)
    swept = client.mishap in LIVING and lost > 0  # what that freed may be spent twice
    report.judged, report.requests = report.judged + 1, report.requests + client.requests
    report.generated, report.charged = report.generated + generated, report.charged + charged
    report.by_wills += max(0, charged - generated) if client.mishap == "kill" else 0
    report.overspend, report.undercharge = max(report.overspend, 0 if swept else over), max(report.undercharge, under)
    report.held, report.drift = report.held + finding.book.held, report.drift + finding.drift
    behind = abs(finding.book.used - sum(receipt.tokens for receipt in receipts))
    report.behind += behind
    _count(report.reached, client, records, receipts)
    allowed = generated + (MOST_HELD if client.mishap == "kill" else _unseen(records))
    wrong = finding.book.held or finding.drift or finding.fault or behind or under or charged > allowed
    if wrong or (over and not swept):
        report.failures.append(f"{client}: generated {generated}, charged {charged}, {finding}")
    _judge_answers(report, client, records, receipts)


def _judge_answers(report: Report, client: Client, records: list[Record], receipts: list[Receipt]) -> None:
    wrong = client.wrong_denials(taken_back=-sum(min(0, receipt.tokens) for receipt in receipts))
    report.wrongly_denied += len(wrong)
    report.failures += [f"{client.tag} ({client.mishap}): {denial} of {client.quotas}" for denial in wrong]
    if client.errors:
        report.failures.append(f"{client.tag} ({client.mishap}): {client.errors} answers of status 500")
    if any(record.prompt_tokens > MOST_PROMPT_TOKENS for record in records):
        report.failures.append(f"{client.tag}: a prompt of more than MOST_PROMPT_TOKENS")


def _count(reached: Counter[str], client: Client, records: list[Record], receipts: list[Receipt]) -> None:
    reached.update(name for receipt in receipts if (name := _branch(receipt)))
    reached.update(record.model for record in records if record.generated)
    reached.update(str(denial.status) for denial in client.denials)
    if client.has_long_ids:
        reached["long ids"] += sum(len(receipt.key) > 128 for receipt in receipts if receipt.model != "-")


def _branch(receipt: Receipt) -> str | None:
    if receipt.source == "late":
        return "reset over a swept lease" if _given_back(receipt) else "revived" if receipt.tokens else None
    return {"lost": "swept", "set_quota": "set quota", "reset": "reset"}.get(receipt.source)


def _given_back(receipt: Receipt) -> int:
    """The tokens that a reset gave back by this receipt; for a will, it has the number of the swept lease."""
    return -receipt.tokens if receipt.source == "reset" or (receipt.source == "late" and receipt.commit < 0) else 0


def _in_flight(records: Iterable[Record]) -> int:
    return sum(1 + int(MODELS[record.model] * IN_FLIGHT_SECONDS) for record in records if record.aborted)


def _unseen(records: Iterable[Record]) -> int:
    """The most that may be charged for answers that broke off before their text was seen: their holds."""
    broken = (record for record in records if not record.completed)
    return sum(record.prompt_tokens + MARGIN_TOKENS + int(record.request["max_completion_tokens"]) for record in broken)
