"""The judge of the nemesis calls each wrong book by a failure, and no right one."""

from dataclasses import replace

import pytest

from gptdock.admin.audit import Finding
from gptdock.dev.journal import Record
from gptdock.ledger.book import Book, Lease, Receipt
from tests.long.nemesis_caller import MOST_PROMPT_TOKENS, Client, Denial
from tests.long.nemesis_report import KINDS, Report, judge, see

BOOK = Book(max=1000, left=856, used=144)
RECORD = Record("1", "gpt-4o-mini", None, {"max_completion_tokens": 100}, 44, generated=100, completed=True)
LONG = replace(RECORD, prompt_tokens=MOST_PROMPT_TOKENS + 1, generated=144 - MOST_PROMPT_TOKENS - 1)
RECEIPT = Receipt("k", 144, 44, 100, "user", "gpt-4o-mini", "upstream", "complete", "p", 1)
RESET = Receipt("r", -144, 0, 0, "nemesis", "-", "reset", "reset", "-")
TAKEN_BACK = Receipt("t", -20, 0, 0, "-", "-", "late", "late", "p", -7)
LOST = Receipt("l", 20, 0, 0, "-", "-", "lost", "requests: 1", "p", 7)


CLIENT = Client("c", "faults", [1000], has_long_ids=False)


def _failures(
    book: Book = BOOK,
    *receipts: Receipt,
    client: Client = CLIENT,
    record: Record = RECORD,
    sum_of_receipts: int | None = None,
) -> list[str]:
    receipts = receipts or (RECEIPT,)
    total = sum(receipt.tokens for receipt in receipts) if sum_of_receipts is None else sum_of_receipts
    report = Report()
    judge(report, Finding(client.account, "all", book, total, False, False), client, [record], list(receipts))
    return report.failures


def test_a_right_book_is_no_failure():
    assert _failures() == []
    assert _failures(Book(1000, 1000, 0), RECEIPT, RESET) == [], "it was reset"
    swept = (LOST, TAKEN_BACK, RECEIPT, RESET)
    assert _failures(Book(1000, 1000, 0), *swept) == [], "it was swept and reset, and its process came back"


WRONG = {
    "held": {"book": Book(1000, 846, 144, leases={"p": Lease(10, 5, 1, 0)})},
    "drift": {"sum_of_receipts": 143},
    "a receipt is missing": {"receipts": [RECEIPT._replace(tokens=143)], "sum_of_receipts": 144},
    "under": {"book": Book(1000, 857, 143), "receipts": [RECEIPT._replace(tokens=143)]},
    "over": {"book": Book(1000, 855, 145), "receipts": [RECEIPT._replace(tokens=145)]},
    "used < 0": {"book": Book(1000, 1001, -1), "receipts": [RECEIPT, RESET._replace(tokens=-145)]},
    "reset, and not charged before": {"book": Book(1000, 1000, 0), "receipts": [LOST, TAKEN_BACK]},
    "overspend": {"client": replace(CLIENT, quotas=[143])},
    "402 for who had enough": {"client": replace(CLIENT, denials=[Denial(402, 144)])},
    "a long prompt": {"record": LONG},
    "an answer of status 500": {"client": replace(CLIENT, errors=1)},
}


@pytest.mark.parametrize("what", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_book_is_a_failure(what):
    what = dict(what)

    assert _failures(what.pop("book", BOOK), *what.pop("receipts", ()), **what)


def test_what_a_sweep_of_a_living_process_freed_may_be_spent_twice():
    client = replace(CLIENT, quotas=[143], mishap="sweep")

    assert _failures(BOOK, LOST, LOST._replace(source="late", tokens=-20, commit=8), RECEIPT, client=client) == []
    assert _failures(client=client) != []


@pytest.mark.parametrize(
    ("book", "mishap", "is_wrong"),
    [
        (BOOK, "faults", False),
        (replace(BOOK, leases={"p": Lease(1, 1, 1, 0)}), "faults", True),
        (replace(BOOK, left=857), "stop", True),
        (Book(1000, -1, 1001), "faults", True),
        (Book(1000, -1, 1001), "stop", False),
    ],
)
def test_a_book_that_is_seen_wrong_is_a_failure(book: Book, mishap: str, is_wrong: bool):
    report = Report()

    see(report, replace(CLIENT, mishap=mishap), book)

    assert (len(report.failures), report.reached["seen"]) == (is_wrong, 1)


def test_a_client_that_was_not_judged_is_a_failure():
    report = Report()
    report.reached.update(KINDS)
    report.end(clients=1)

    assert report.failures == ["judged: 0 of 1 clients"]


def test_a_kind_that_was_never_reached_is_a_failure():
    report = Report()
    report.reached.update(KINDS[1:])
    report.end(clients=0)

    assert report.failures == [f"never reached: {KINDS[0]}"]
