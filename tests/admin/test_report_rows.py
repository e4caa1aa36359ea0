"""Receipts as rows of a report: sums lose nothing, and no cell of a CSV is run as a formula."""

import csv
import io
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.admin import report_rows
from gptdock.ledger.book import Receipt, Source

RECEIPT = Receipt("2026-11-23T02:13:20.123Z#r1#p.1", 12, 5, 7, "u1", "model", "upstream", "complete", "p", 3)
IN_WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=9)
RECEIPTS = st.builds(
    RECEIPT._replace,
    key=st.sampled_from(
        ["2026-11-23T23:59:59.999Z#a#b", "2026-11-24T00:00:00.000Z#a#b#c", "2026-12-01T00:00:00.000Z#a#b"]
    ),
    tokens=st.integers(-(10**6), 10**6),
    prompt_tokens=st.integers(0, 10**6),
    completion_tokens=st.integers(0, 10**6),
    cached_tokens=st.integers(0, 10**6),
    reasoning_tokens=st.integers(0, 10**6),
    user=st.one_of(st.sampled_from(["u1", "u2", "-"]), IN_WORDS),
    source=st.sampled_from(["upstream", "counted", "lost", "late", "set_quota", "reset"]),
)
DATED = st.lists(st.tuples(st.sampled_from(["all", "2026-11", "2026-11-23"]), RECEIPTS))


def rows(by: report_rows.By, dated: list[tuple[str, Receipt]]) -> list[dict[str, Any]]:
    if by == "request":
        return [dict(zip(report_rows.COLUMNS[by], report_rows.row(receipt), strict=True)) for _, receipt in dated]
    sums = report_rows.Sums(by)
    for period, receipt in dated:
        sums.add(period, receipt)
    return [dict(zip(report_rows.COLUMNS[by], row, strict=True)) for row in sorted(chain(*sums.runs()), key=sums.place)]


@pytest.mark.parametrize("by", ["day", "user", "request"])
@given(dated=DATED)
def test_the_rows_of_a_report_sum_to_its_receipts(by: report_rows.By, dated: list[tuple[str, Receipt]]):
    found = rows(by, dated)

    for column in ("tokens", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"):
        assert sum(row[column] for row in found) == sum(getattr(receipt, column) for _, receipt in dated)
    if by != "request":
        assert sum(row["requests"] for row in found) == sum(r.source in ("upstream", "counted") for _, r in dated)
        assert len({row[by] for row in found}) == len(found)


def test_days_come_in_their_order_and_users_by_what_they_used():
    later = RECEIPT._replace(key="2026-11-24#r#p", tokens=90, user="u2")
    dated = [("all", later), ("all", RECEIPT), ("all", RECEIPT._replace(source="lost", tokens=1))]

    assert [(row["day"], row["requests"], row["tokens"]) for row in rows("day", dated)] == [
        ("2026-11-23", 1, 13),
        ("2026-11-24", 1, 90),
    ]
    assert [(row["user"], row["requests"], row["tokens"]) for row in rows("user", dated)] == [
        ("u2", 1, 90),
        ("u1", 1, 13),
    ]


@pytest.mark.parametrize(
    ("period", "time", "asked"),
    [
        ("all", "2026-11-23T02", ["all", "2026-11", "2026-11-23"]),
        ("2026-11", "2026-11-23T02", ["all", "2026-11", "2026-11-23"]),
        ("2026-11", "2026-12-01T00", ["all", "2026-11", "2026-12-01"]),  # lost in November, swept in December
        ("2026-11-23", "2026-11-24T00", ["all", "2026-11", "2026-11-23"]),
    ],
)
def test_a_receipt_belongs_to_the_period_that_it_was_charged_in(period: str, time: str, asked: list[str]):
    receipt = RECEIPT._replace(key=f"{time}:00:00.000Z#r#p")
    every = ["all", "2026-10", "2026-11", "2026-12", "2026-11-23", "2026-11-24", "2026-12-01"]

    assert [each for each in every if report_rows.belongs(period, receipt, each)] == asked


@pytest.mark.parametrize(
    ("key", "source", "request_id"),
    [
        ("T#r1#p.1", "upstream", "r1"),
        ("T##a#b##p.1", "counted", "#a#b#"),
        ("T#r1#0123456789ab", "reset", "r1"),
        ("T#lost#p.1", "lost", "-"),
        ("T#late#p.1", "late", "-"),
    ],
)
def test_a_row_has_the_request_id_even_if_it_contains_a_hash(key: str, source: Source, request_id: str):
    assert report_rows.row(RECEIPT._replace(key=key, source=source))[:2] == ("T", request_id)


FORMULAS = ["=1+1", "+A1", "-A1", "@sum", "=", "-7-8", "+49 30", "=\u2028cmd", "--", "-1e5"]
FORMULAS += ["＝1+1", "－1", "＠x", "\xa0=1+1", " =1", "\u200b=1", "\ufeff=1", "\u202e=1", '"=1', "'=1", "|x", "%1"]
NO_NUMBERS = ["00123", "1E5", "1e5", "007", "-0", "+49", "1.50", "1,5", ".5", "5.", "1234567890123456", "0x10", "１２"]
NO_NUMBERS += [
    "1-2",
    "3/4",
    "2026-11-23",
    "12:30",
    "5%",
    "$5",
    "(5)",
    "1_000",
    "TRUE",
    "false",
    "MAR1",
    "Sept-2",
    "1 2",
]


def written(*cells: object, **more: tuple[str, ...]) -> list[str]:
    return next(csv.reader(io.StringIO(report_rows.csv_line(cells, **more))))


@pytest.mark.parametrize("cell", FORMULAS + NO_NUMBERS)
def test_a_cell_that_a_spreadsheet_would_change_is_quoted(cell: str):
    assert written(cell) == [f"'{cell}"]


@pytest.mark.parametrize(
    ("cell", "quoted"),
    [(";=cmd", ";'=cmd"), ("a;=cmd|x;+1", "a;'=cmd|x;'+1"), ("a; =x", "a;' =x"), ("a;b;12", "a;b;12")],
)
def test_a_formula_behind_a_semicolon_is_quoted(cell: str, quoted: str):
    assert written(cell) == [quoted]


OURS = "7e769778bdfb4377b8d163c0de97b739"


@pytest.mark.parametrize(
    "cell", ["-", "+", "-7", "49", 'a"b', "a,b", "a=b", "", -12, "é🦆", "東京", "_x", "u7", "mary2", OURS]
)
def test_other_cells_stay_as_they_are(cell: str | int):
    assert written(cell, "end") == [str(cell), "end"]


def test_days_and_times_stay_dates_and_are_not_quoted():
    assert written("2026-11-23", "1E5", columns=("day", "user")) == ["2026-11-23", "'1E5"]


@given(st.lists(IN_WORDS, min_size=1))
def test_a_line_of_csv_is_one_line_with_as_many_cells(cells: list[str]):
    line = report_rows.csv_line(tuple(cells))

    assert line.endswith("\r\n")
    assert line.count("\n") == 1
    assert [cell.replace("'", "") for cell in next(csv.reader([line]))] == [cell.replace("'", "") for cell in cells]
