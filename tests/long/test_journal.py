"""A short run of the comparison of journal and books. `make journal` asks 2,000 times."""

from tests.long.journal import compare
from tests.long.journal_requests import KINDS


async def test_books_have_all_that_was_generated_however_answers_end():
    report = await compare(3 * len(KINDS))

    assert report.failures == []
    assert (report.overspend, report.undercharge, report.unequal, report.held) == (0, 0, 0, 0)
    assert report.charged >= report.generated - report.above > 1_000
