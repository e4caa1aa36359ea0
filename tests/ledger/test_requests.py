"""What a process keeps of its requests costs each of them the same, however many there are."""

import sys
from collections import Counter
from types import FrameType
from typing import Any

from gptdock.ledger import lease_state
from gptdock.ledger.book import Demand, Receipt, Terms
from gptdock.ledger.lease_state import MOST_RECEIPTS, LeaseState
from gptdock.ledger.requests import Requests

TERMS = Terms(number=1, now=0, lease_seconds=60)


def _settled(state: LeaseState, request_id: int) -> LeaseState:
    """The state after one more request asked, was admitted and ended, with the commits that it takes."""
    receipt = Receipt(f"r{request_id}", 1, 1, 0, "user", "model", "upstream", "complete", "p")
    state = lease_state.ask(state, request_id, Demand(10, 5), 1)
    admits = lease_state.commit(state, TERMS, set())
    assert admits
    state = lease_state.end(lease_state.applied(lease_state.send(state, admits), admits), request_id, receipt)
    charges = lease_state.commit(state, TERMS, set())
    return lease_state.applied(lease_state.send(state, charges), charges) if charges else state


def _steps_of_one_more(pending: int) -> int:
    """Instructions of Python that one more request takes when as many receipts wait for room in the lease."""

    def trace(frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_opcodes = True
        steps[event] += 1
        return trace

    steps, state = Counter[str](), LeaseState("p", Requests())
    for request_id in range(MOST_RECEIPTS + pending):
        state = _settled(state, request_id)
    assert len(state.requests.charged) == pending
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        _settled(state, MOST_RECEIPTS + pending)
    finally:
        sys.settrace(before)
    return steps["opcode"]


def test_a_request_costs_the_same_however_many_receipts_wait():
    """As they do while the table `usage` is down."""
    assert 0 < _steps_of_one_more(1000) == _steps_of_one_more(10)


def test_a_count_that_comes_after_its_request_ended_changes_no_will():
    state = lease_state.ask(LeaseState("p", Requests()), 1, Demand(10, 5), 8)
    admits = lease_state.commit(state, TERMS, set())
    assert admits
    state = lease_state.applied(lease_state.send(state, admits), admits)
    receipt = Receipt("r1", 5, 1, 4, "user", "model", "upstream", "complete", "p")

    state = lease_state.progress(lease_state.end(state, 1, receipt), {1: 2})

    assert (state.requests.held, state.requests.will) == (5, 5)
