"""The item of a book stays small, whatever waits in it, and a commit that does not fit into it becomes smaller."""

import asyncio
from contextlib import AsyncExitStack

from gptdock.ledger import items, lease_state, receipt_items, verbs
from gptdock.ledger.book import Book, Demand, Lease, Receipt, Terms
from gptdock.ledger.lease_state import MOST_RECEIPTS, LeaseState
from gptdock.ledger.requests import Requests
from gptdock.ledger.store import Store
from tests.harness.bill import size_of
from tests.harness.ledgers import ACCOUNT, Start, charge, claim, numbers
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.proxy import Proxy
from tests.harness.world import apply

PROCESSES = 50
TERMS = Terms(number=1_000_000, now=1_795_435_200, lease_seconds=60)
LONGEST = Receipt(
    "", 100_000, 100_000, 100_000, "Ж" * 127, "gpt-4o-mini-2024-07-18", "upstream", "upstream_unavailable", ""
)._replace(cached_tokens=10**9, reasoning_tokens=10**9)


def _item_size(book: Book) -> int:
    return sum(len(name) + 2 + size_of({"M": items._from_lease(lease)}) for name, lease in book.leases.items())


def _joined(book: Book, process: str) -> Book:
    """The book after this process took as many holds as it has receipts, then charged all that fit."""
    state = LeaseState(process, Requests())
    for request_id in range(MOST_RECEIPTS):
        state = lease_state.ask(state, request_id, Demand(100, 50), 1)
    for _ in range(3):
        write = lease_state.commit(state, TERMS, set(), deny=True) or lease_state.commit(state, TERMS, set())
        write = lease_state.commit(state, TERMS, set()) or write
        assert write
        book = apply(book, write)
        state = lease_state.saw(lease_state.applied(lease_state.send(state, write), write), book)
        for request_id in list(state.requests):
            key = f"2026-11-23T12:00:00.000Z#{'r' * 128}#{process}.{request_id}"
            state = lease_state.end(state, request_id, LONGEST._replace(key=key, process=process))
    assert state.requests.charged, "all found room"
    return book


def test_an_item_stays_under_100_kb_with_50_processes_with_the_longest_ids():
    """None of their receipts can be put, and at last all are swept."""
    book = Book(10_000_000, 10_000_000, 0)
    for process in range(PROCESSES):
        book = _joined(book, f"{process:012x}")

    swept = book
    for name, lease in book.leases.items():
        swept = apply(swept, verbs.sweep(name, lease, TERMS.now, 3600))

    assert all(lease.receipts for lease in book.leases.values())
    assert 50_000 < _item_size(book) < _item_size(swept) < 100_000


def test_a_receipt_is_as_large_as_it_makes_its_lease():
    receipts = tuple(LONGEST._replace(key=f"{number:02}") for number in range(MOST_RECEIPTS))
    more, less = ({"M": items._from_lease(Lease(0, 0, 1, 1, of))} for of in (receipts, receipts[1:]))

    assert size_of(more) - size_of(less) == receipt_items.bytes_in_lease(receipts[0])


def test_a_lost_revival_that_does_not_fit_is_shut_out():
    """A lost attempt at it may still arrive, like one at any commit: its number is the one that the sweep left."""
    state = LeaseState("p", Requests())
    write = lease_state.commit(lease_state.ask(state, 1, Demand(100, 50), 10), TERMS, set())
    assert write
    state = lease_state.applied(lease_state.send(state, write), write)
    state = lease_state.end(state, 1, LONGEST)
    assert state.lease
    swept = verbs.sweep("p", state.lease, TERMS.now + 100, 3600)
    assert swept.lease
    book = Book(1000, 890, 10, -1, {"p": swept.lease})
    state = state._replace(lease=swept.lease)
    revival = lease_state.commit(state, TERMS._replace(number=2_000_000), set())
    assert revival

    state = lease_state.timed_out(lease_state.send(state, revival))
    state = lease_state.refused(state, book, TERMS._replace(number=3_000_000), set(), is_too_big=True)

    assert state.replaced == (revival,)
    assert state.in_flight
    assert state.in_flight.lease
    assert revival.lease
    assert len(state.in_flight.lease.receipts) < len(revival.lease.receipts)


async def test_a_commit_that_does_not_fit_into_the_item_becomes_smaller(start: Start, store: Store, proxy: Proxy):
    """Here a commit has room for two receipts. moto applies half of an update that is too big, so the proxy refuses."""
    proxy.most_bytes = 1000
    async with start() as ledger:
        async with AsyncExitStack() as stack:
            holds = [await stack.enter_async_context(ledger.hold(claim())) for _ in range(6)]
            for hold in holds:
                hold.settle(charge(7), "complete")

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await numbers(ledger, store) == (958, 0, 42, 42)


async def test_a_lost_commit_that_does_not_fit_can_arrive_no_more(start: Start, store: Store, proxy: Proxy):
    """Otherwise it could be applied once there is room, behind the back of its process."""
    async with start(progress_seconds=20) as ledger:
        async with AsyncExitStack() as stack:
            holds = [await stack.enter_async_context(ledger.hold(claim())) for _ in range(6)]
            before = await ledger.read(ACCOUNT, ledger.period())
            proxy.strike("late")
            proxy.most_bytes = 650
            for hold in holds:
                hold.settle(charge(7), "complete")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await ledger.read(ACCOUNT, ledger.period()) == before:
                continue

        assert await proxy.release() == [400]
        proxy.most_bytes = None
        assert await numbers(ledger, store) == (958, 0, 42, 42)
