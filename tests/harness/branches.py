"""The rare branches of the protocol, and which of them a step takes: a search that never reached one shows nothing."""

from collections.abc import Iterator

from gptdock.ledger.book import Book, Lease, Write
from tests.harness.world import Process, World

SHUT_OUT, SMALLER, FENCE = "shut out", "smaller commit", "fence refused"
SWEPT, REVIVED, REMOVED, RESET = "swept by another", "revived", "removed", "reset over a swept lease"
ALL = frozenset({SHUT_OUT, SMALLER, FENCE, SWEPT, REVIVED, REMOVED, RESET})


def taken(label: str, before: World, after: World) -> Iterator[str]:
    """The branches that this step takes."""
    yield from changed(before.book, after.book)
    for old, new in zip(before.processes, after.processes, strict=True):
        if label.startswith(f"{old.state.process} is answered"):
            yield from _learned(before.book, old, new, is_too_big="too big" in label)


def changed(before: Book, after: Book) -> Iterator[str]:
    """What became of the leases of a book by a write to it."""
    for name, lease in before.leases.items():
        yield from _became(lease, after.leases.get(name))


def refused(book: Book, write: Write, *, is_too_big: bool) -> Iterator[str]:
    """Why this book refused a write, if the reason is rare."""
    is_first = write.expected_number is None and write.process not in book.leases
    if is_too_big:
        yield SMALLER
    elif is_first and write.lease and book.fence >= write.lease.expires_at:
        yield FENCE


def _became(lease: Lease, after: Lease | None) -> Iterator[str]:
    if after is None:
        yield REMOVED
    elif lease.number > 0 > after.number:
        yield SWEPT
    elif lease.number < 0 < after.number:
        yield REVIVED
    elif lease.number < 0 and after.will < lease.will:
        yield RESET


def _learned(book: Book, old: Process, new: Process, *, is_too_big: bool) -> Iterator[str]:
    if len(new.state.replaced) > len(old.state.replaced):
        yield SHUT_OUT
    if old.state.in_flight:
        yield from refused(book, old.state.in_flight, is_too_big=is_too_big)
