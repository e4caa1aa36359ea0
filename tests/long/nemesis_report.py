"""The result of a run of the nemesis: compares each book with what OpenAI generated for its client."""

from dataclasses import dataclass, field

from gptdock.admin.audit import Finding
from gptdock.dev.journal import Record
from gptdock.ledger.book import Receipt

ALLOWANCE = 100  # tokens; a will may add twice as many: a hold has no more


@dataclass
class Report:
    """What happened, and how the books compare; tokens over all clients. `failures` is empty if all promises held."""

    requests: int = 0
    kills: int = 0
    stops: int = 0
    lost_answers: int = 0
    generated: int = 0
    charged: int = 0
    by_wills: int = 0
    overspend: int = 0
    undercharge: int = 0
    held: int = 0
    drift: int = 0
    failures: list[str] = field(default_factory=list)


def judge(
    report: Report, finding: Finding, quota: int, mishap: str, records: list[Record], receipts: list[Receipt]
) -> None:
    """Compare a client's book with the upstream's records of it, and add the result to the report."""
    client = finding.account.client_id
    generated, charged = sum(record.spent for record in records), finding.book.used
    lost = sum(receipt.tokens for receipt in receipts if receipt.source == "lost")
    in_flight = sum(record.aborted for record in records)  # one token may be in flight when the caller leaves
    over, under = max(0, generated - quota), max(0, generated - charged - in_flight)
    swept = mishap in ("stop", "hole") and lost > 0  # a living process was swept: what that freed may be spent twice
    report.generated, report.charged = report.generated + generated, report.charged + charged
    report.by_wills += max(0, charged - generated) if mishap == "kill" else 0
    report.overspend, report.undercharge = max(report.overspend, 0 if swept else over), max(report.undercharge, under)
    report.held, report.drift = report.held + finding.book.held, report.drift + finding.drift
    allowed = generated + (len(records) * ALLOWANCE * 2 if mishap == "kill" else _unseen(records))
    if finding.book.held or finding.drift or under or charged > allowed or (over and not swept):
        report.failures.append(f"{client} ({mishap}): generated {generated}, charged {charged}, {finding}")


def _unseen(records: list[Record]) -> int:
    """The most that may be charged for answers that broke off before their text was seen: their holds."""
    return sum(record.prompt_tokens + 128 for record in records if not record.completed)
