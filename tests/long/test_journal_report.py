"""The judge of journal and books calls each wrong charge by a failure, and no right one."""

from dataclasses import replace
from typing import Any

import pytest

from gptdock.dev.journal import Record
from gptdock.dev.script import Script
from gptdock.ledger.book import Book, Lease, Receipt
from tests.long.journal_report import Report, cases, judge
from tests.long.journal_requests import KINDS, Asked, Plan

ASKED = Asked(7, "cut", "chat/completions", {"stream": True}, Plan((Script(cut="close"),)))
LIMITED = {"max_completion_tokens": 100}
RECORD = Record("1", "gpt-4o-mini", None, LIMITED, 44, status=200, events=101, generated=100)
TOLD = replace(RECORD, usage={"total_tokens": 144}, completed=True)
SEEN = Receipt("k", 144, 44, 100, "u7", "gpt-4o-mini", "upstream", "complete", "p", 1)
COUNTED = SEEN._replace(source="counted", outcome="upstream_error")


def _failures(*receipts: Receipt, record: Record = RECORD, asked: Asked = ASKED, book: Book | None = None) -> list[str]:
    used = sum(receipt.tokens for receipt in receipts)
    report = Report()
    judge(report, cases([asked], {7: [record]}, receipts), book or Book(max=1000, left=1000 - used, used=used))
    return report.failures


def _charged(tokens: int, **more: Any) -> Receipt:
    return COUNTED._replace(tokens=tokens, completion_tokens=tokens - 44, **more)


LEFT = replace(RECORD, aborted=True)
LEAVES = _charged(143, outcome="caller_left")
STALLED = ASKED._replace(plan=Plan((Script(stall_at=101),)))


def test_a_right_charge_is_no_failure():
    assert _failures(SEEN, record=TOLD) == []
    assert _failures(COUNTED) == []
    assert _failures(record=replace(RECORD, generated=0)) == [], "nothing was generated"


def test_what_was_under_way_and_what_is_above_the_limit_need_not_be_charged():
    assert _failures(_charged(141), record=LEFT) == []
    assert _failures(COUNTED, record=replace(RECORD, generated=900)) == []


def test_of_an_answer_that_was_late_on_a_busy_machine_only_the_prompt_is_due():
    late = _charged(44, outcome="upstream_timeout")

    assert _failures(late) == []
    assert _failures(late, asked=STALLED) != [], "what came before it stalled was not late"
    assert _failures(late._replace(tokens=43)) != []


def test_a_machine_that_is_too_busy_is_a_failure():
    report = Report(requests=10, late=2)
    report.end([])

    assert report.failures[-1] == "the machine is too busy"


def test_time_may_be_charged_where_a_model_is_not_seen_to_write():
    assert _failures(_charged(144), record=replace(RECORD, model="o4-mini", generated=50)) == []
    assert _failures(_charged(144), record=replace(RECORD, generated=50), asked=ASKED._replace(body={})) == []


WRONG: dict[str, dict[str, Any]] = {
    "less than was generated": {"receipts": [SEEN], "record": replace(TOLD, generated=101)},
    "one less than was seen": {"receipts": [SEEN._replace(tokens=143)], "record": TOLD},
    "one more than was seen": {"receipts": [SEEN._replace(tokens=145)], "record": TOLD},
    "one less than came": {"receipts": [_charged(143)]},
    "text hidden by a high count of the prompt": {
        "receipts": [COUNTED._replace(prompt_tokens=45, completion_tokens=99)]
    },
    "more under way than closes at once": {"receipts": [_charged(140)], "record": LEFT},
    "under way, although nothing came any more": {"receipts": [LEAVES], "record": LEFT, "asked": STALLED},
    "less than the limit, since it generated more": {
        "receipts": [_charged(143)],
        "record": replace(RECORD, generated=900),
    },
    "nothing": {"receipts": []},
    "text that did not come": {"receipts": [_charged(144)], "record": replace(RECORD, generated=99)},
    "more than the hold": {"receipts": [_charged(193)], "record": replace(RECORD, model="o4-mini")},
    "twice": {"receipts": [_charged(100), _charged(44)]},
    "held": {"receipts": [COUNTED], "book": Book(1000, 846, 144, leases={"p": Lease(10, 5, 1, 0)})},
    "a book of its own": {"receipts": [COUNTED], "book": Book(1000, 857, 143)},
    "overspend": {"receipts": [COUNTED], "book": Book(143, -1, 144)},
}


@pytest.mark.parametrize("what", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_charge_is_a_failure(what):
    what = dict(what)

    assert _failures(*what.pop("receipts"), **what) != []


def test_a_kind_that_was_never_reached_is_a_failure():
    report = Report()
    report.end(KINDS)

    assert {f"never reached: {kind}" for kind in KINDS} < set(report.failures)
