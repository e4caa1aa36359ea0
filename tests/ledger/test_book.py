"""The values of a book, and the verbs that change them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptdock.ledger import verbs
from gptdock.ledger.book import Book, Demand, Lease, Receipt
from gptdock.quotas import Quota

DEMANDS = st.integers(1, 50).flatmap(lambda least: st.integers(least, 100).map(lambda full: Demand(full, least)))


def test_a_demand_is_an_upper_bound_and_a_minimal_answer():
    assert Demand.of(prompt_tokens=100, completion_tokens=1000) == Demand(full=1108, least=124)


def test_a_demand_for_a_short_answer_has_no_lesser_form():
    assert Demand.of(prompt_tokens=100, completion_tokens=10) == Demand(full=118, least=118)


def test_demands_are_held_in_full_while_the_room_is_unknown():
    assert verbs.fit([(1, Demand(50, 10)), (2, Demand(70, 10))], None) == {1: 50, 2: 70}


def test_the_last_demand_that_fits_is_cut_to_what_is_left():
    assert verbs.fit([(1, Demand(50, 10)), (2, Demand(50, 10)), (3, Demand(50, 10))], 75) == {1: 50, 2: 25}


def test_a_smaller_request_may_fit_where_an_earlier_one_did_not():
    assert verbs.fit([(1, Demand(50, 40)), (2, Demand(20, 10))], 30) == {2: 20}


@pytest.mark.parametrize(("used", "held", "status"), [(50, 0, 402), (41, 59, 402), (40, 60, 429), (0, 100, 429)])
def test_a_demand_is_denied_for_good_only_if_it_would_not_fit_with_nothing_held(used: int, held: int, status: int):
    book = Book(100, 100 - used - held, used, leases={"P": Lease(held, 0, 1, 0)})

    assert verbs.denial(Demand(full=80, least=60), book, "all").status == status


def test_a_denial_says_what_is_needed_what_is_left_and_when_the_quota_renews():
    book = Book(100, 20, 70, leases={"P": Lease(10, 0, 1, 0)})

    error = verbs.denial(Demand(full=80, least=60), book, "2026-11")

    assert "60 tokens at least; 20 are left, 10 on hold" in str(error)
    assert "renews at 2026-12-01T00:00:00Z" in str(error)
    assert error.quota == Quota(100, 20, 10, datetime(2026, 12, 1, tzinfo=UTC))


@given(st.lists(DEMANDS), st.integers(-10, 500))
def test_holds_that_fit_are_never_more_than_there_is_room_for(demands: list[Demand], room: int):
    holds = verbs.fit(list(enumerate(demands)), room)

    assert sum(holds.values()) <= max(0, room)
    assert all(demands[i].least <= tokens <= demands[i].full for i, tokens in holds.items())


def test_a_sweep_charges_the_will_and_frees_the_rest():
    lease = Lease(held=100, will=30, number=7, expires_at=1000)

    write = verbs.sweep("p", lease, now=2000, retain_seconds=3600)

    assert (write.left_by, write.used_by, write.expected_number) == (70, 30, 7)
    assert write.lease
    assert write.lease[:4] == (0, 30, -7, 5600)
    assert [receipt.tokens for receipt in write.lease.receipts] == [30]


@pytest.mark.parametrize(("requests", "outcome"), [(3, "requests: 3"), (0, "lost")])
def test_a_lost_receipt_tells_how_many_requests_it_stands_for(requests: int, outcome: str):
    """A lease of an earlier version does not say."""
    lease = Lease(held=100, will=30, number=7, expires_at=1000, requests=requests)

    swept = verbs.sweep("p", lease, now=2000, retain_seconds=3600).lease

    assert swept
    assert swept.requests == requests
    assert [receipt.outcome for receipt in swept.receipts] == [outcome]


def test_a_sweep_is_the_same_write_whoever_sends_it():
    lease = Lease(held=100, will=30, number=7, expires_at=1000)

    assert verbs.sweep("p", lease, 2000, 3600) == verbs.sweep("p", lease, 2000, 3600)


def test_a_sweep_leaves_out_receipts_that_are_put():
    receipts = tuple(Receipt(key, 1, 0, 0, "-", "-", "upstream", "complete", "p") for key in ("put", "unsure"))
    lease = Lease(held=100, will=30, number=7, expires_at=1000, receipts=receipts)

    swept = verbs.sweep("p", lease, 2000, 3600, {"put"}).lease

    assert swept
    assert [receipt.tokens for receipt in swept.receipts] == [1, 30]


def test_a_removal_never_lowers_the_fence():
    lease = Lease(held=0, will=0, number=7, expires_at=1000)

    assert verbs.remove("p", lease, fence=500).fence == 1000
    assert verbs.remove("p", lease, fence=1500).fence == 1500


def test_a_lease_ends_only_after_its_grace():
    book = Book(10, 10, 0, leases={"p": Lease(0, 0, 1, expires_at=100)}, seen_at=110)

    assert not list(verbs.expired(book, grace_seconds=10))
    assert list(verbs.expired(replace(book, seen_at=111), grace_seconds=10)) == [("p", book.leases["p"])]


def test_a_reset_gives_back_what_was_used_and_says_so():
    receipt = Receipt("k", 0, 0, 0, "-", "-", "reset", "reset", "-")

    change = verbs.reset(Book(100, 30, 70), receipt, now=2000)

    assert (change.left_by, change.used_by, change.receipt.tokens, change.late) == (70, -70, -70, ())


def test_a_reset_takes_back_the_wills_of_swept_leases_by_their_own_receipts():
    leases = {"lives": Lease(10, 5, 1, 100), "swept": Lease(0, 20, -7, 100), "done": Lease(0, 0, -8, 100)}

    change = verbs.reset(Book(100, 20, 70, leases=leases), Receipt("k", 0, 0, 0, "-", "-", "reset", "reset", "-"), 2000)

    assert [(late.process, late.commit, late.tokens) for late in change.late] == [("swept", -7, -20)]
    assert (change.left_by, change.used_by, change.receipt.tokens) == (70, -70, -50)


def test_a_reset_leaves_wills_charged_that_do_not_fit_into_one_transaction():
    leases = {f"p{number}": Lease(0, 1, -1, 100) for number in range(verbs.MOST_WILLS + 3)}

    change = verbs.reset(Book(100, 40, 60, leases=leases), Receipt("k", 0, 0, 0, "-", "-", "reset", "reset", "-"), 2000)

    assert (len(change.late), change.used_by, change.receipt.tokens) == (50, -57, -7)
