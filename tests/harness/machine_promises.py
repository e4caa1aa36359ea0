"""What must hold of books, leases and receipts under the `machine` of the ledger, at every step and at rest."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from gptdock.ledger import periods
from gptdock.ledger.book import Book, Lease, Receipt
from gptdock.ledger.holds import Hold
from tests.harness.ledger_process import ALLOWANCE, Process, Request
from tests.harness.memory_store import Applied, Key, Tables
from tests.harness.world import verb

LEASE_SECONDS, GRACE_SECONDS = 60, 10  # as they are without settings


def wrong(tables: Tables, living: Sequence[Process]) -> Iterator[str]:
    for key, book in tables.books.items():
        if book.left + book.used + book.held != book.max:
            yield f"left + used + held != max: {book}"
        if book.used < 0:
            yield f"used < 0: {book}"
        if sum(receipt.tokens for receipt in _receipts(tables, key, book)) != book.used:
            yield f"receipts, put or in the book, do not sum to used: {book}"
        for _, lease, opened in _admitted(tables, living, key, book):
            held = sum(hold for hold, _ in opened)  # 0: settled, nothing to charge, so its empty lease may go
            if held and (lease is None or (lease.number > 0 and lease.held < held)):
                yield f"admitted without its tokens in the book: {opened}, {lease}"


def wrongly_willed(tables: Tables, living: Sequence[Process]) -> Iterator[str]:
    for key, book in tables.books.items():
        for _, lease, opened in _admitted(tables, living, key, book):
            will = sum(min(hold, generated + ALLOWANCE) for hold, generated in opened)
            if lease and lease.number > 0 and (lease.will != will or lease.expires_at < tables.now()):
                yield f"renewed: not the will of {opened}: {lease}"
            least = sum(hold > 0 for hold, _ in opened)  # the others may have gone with an empty lease
            if lease and lease.number > 0 and not least <= lease.requests <= len(opened):
                yield f"renewed: not the number of {opened}: {lease}"


def _admitted(
    tables: Tables, living: Sequence[Process], key: Key, book: Book
) -> Iterator[tuple[Process, Lease | None, list[tuple[int, int]]]]:
    """Each living process with its lease, and hold and generated tokens of its requests that must be in it."""
    charged = {_request_id(receipt) for receipt in _receipts(tables, key, book)}
    for process in living:
        ours = [request for request in process.requests if request.key == key and not request.is_final]
        ours = [r for r in ours if r.is_open or (r.is_settled and r.claim.request_id not in charged)]
        if opened := [(_held(request.hold, request), request.generated) for request in ours if request.hold]:
            yield process, book.leases.get(process.ledger.process), opened


def _receipts(tables: Tables, key: Key, book: Book) -> Collection[Receipt]:
    """Put, or in the book."""
    in_book = {receipt.key: receipt for lease in book.leases.values() for receipt in lease.receipts}
    return {**tables.usage.get(key, {}), **in_book}.values()


def wrong_when_settled(tables: Tables, living: Sequence[Process]) -> Iterator[str]:
    for process in living:
        if process.ledger._tasks():
            yield "settled: a process is busy"
        for key, book in tables.books.items():
            lease = book.leases.get(process.ledger.process)
            put = tables.usage.get(key, {})
            if lease and (lease.held or any(receipt.key not in put for receipt in lease.receipts)):
                yield f"settled: a process lives and leaves {lease}"


def wrong_at_rest(tables: Tables, processes: Iterable[Process]) -> Iterator[str]:
    for key, book in tables.books.items():
        receipts = tables.usage.get(key, {}).values()
        if book.leases or book.held:
            yield f"at rest: still there: {book.leases}"
        if sum(receipt.tokens for receipt in receipts) != book.used:
            yield f"at rest: receipts do not sum to used: {book}"
        for process in processes:
            ours = [receipt for receipt in receipts if receipt.process == process.ledger.process]
            yield from _wrongly_charged(process, key, ours)


def wrongly_dated(process: Process, lease: Lease, period: str, now: float) -> Iterator[str]:
    """A write of `process` that was sent now, to its own lease or to another's that it sweeps."""
    days = [periods.current("day", at) for at in (process.started_at, now)]
    if not days[0] <= period <= days[1] and lease.number > 0:
        yield f"sent at {now} to the book of {period}: {lease}"
    if lease.expires_at < now + LEASE_SECONDS and not process.slept:
        yield f"sent at {now}: a lease that does not last: {lease}"


def wrongly_applied(applied: Applied, now: float) -> Iterator[str]:
    lease = applied.before.leases.get(applied.write.process)
    if verb(applied.write) in ("sweep", "remove") and lease and lease.expires_at + GRACE_SECONDS >= now:
        yield f"ended at {now}, before it expired: {lease}"
    if applied.write.new_holds and applied.after.left < 0:
        yield f"left < 0 by a hold: {applied}"
    if applied.write.used_by < 0 and verb(applied.write) != "revive":
        yield f"used fell: {applied}"


def wrongly_denied(process: Process) -> Iterator[str]:
    """A request is denied only if not even a minimal answer fits once all others that wait have theirs in full."""
    for request in process.denied:
        write, book = process.store.refusals[request.key]
        room = book.left + min(0, write.left_by + sum(write.new_holds.values()))  # after charges above a hold
        waited = [r for r in process.requests if r in process.left or not r.task.done()]
        waiting = [r for r in waited if r.key == request.key and r.hold is None]
        others = sum(other.demand.full for other in {*waiting, *process.denied} - {request})
        if request.demand.least <= room - others:
            yield f"denied, though {request.demand} fits: {write}, {book}"


def _wrongly_charged(process: Process, key: Key, receipts: Sequence[Receipt]) -> Iterator[str]:
    charged = {_request_id(receipt): receipt.tokens for receipt in receipts if receipt.source == "upstream"}
    newest = max((abs(receipt.commit) for receipt in receipts), default=0)
    # What a reset took back from a lease that was not revived is forgiven: it was charged.
    counts = [r for r in receipts if r.source != "upstream" and not (r.source == "late" and r.commit == -newest)]
    wills = sum(receipt.tokens for receipt in counts)
    requests = [request for request in process.requests if request.key == key and not request.is_final]
    for request in requests:
        tokens = charged.get(request.claim.request_id, 0 if process.lives else request.generated)
        if tokens != request.generated:
            yield f"at rest: {request.claim.request_id} is charged {tokens}, not {request.generated}"
    if key in process.away:
        return
    if process.lives and wills:
        yield f"at rest: a process lives, and wills of {wills} tokens are charged"
    unsettled = [request for request in requests if request.claim.request_id not in charged]
    if wills < sum(_covered(request) for request in unsettled):
        yield f"at rest: a dead process is charged {wills} for {[_covered(request) for request in unsettled]}"
    most = ALLOWANCE + 1  # the time until a renewal, of which a first will is made, is not exact after a day
    if wills > sum(max(request.told, request.generated) + most for request in unsettled):
        yield f"at rest: a dead process is charged {wills}, more than its wills"


def _request_id(receipt: Receipt) -> str:
    return receipt.key.split("#")[1]


def _covered(request: Request) -> int:
    """What was generated, as far as the last commit could know of it."""
    if request.hold is None:
        return 0
    known = request.process.covered[request.key].get(request, 0) + ALLOWANCE
    return min(request.generated, request.hold.tokens, known)


def _held(hold: Hold, request: Request) -> int:
    """Once it is settled, and only its receipt waits for room in the outbox, a request holds no more than it costs."""
    return min(hold.tokens, request.generated) if request.is_settled else hold.tokens
