"""A short run of the nemesis: every book is right at the end. `make nemesis` runs more seeds."""

from tests.long.nemesis import fight

SEEDS = range(16)  # each mishap at least once


async def test_no_seed_makes_a_book_wrong():
    report = await fight(SEEDS)

    assert report.failures == []
    assert (report.overspend, report.undercharge, report.held, report.drift) == (0, 0, 0, 0)
    assert (report.behind, report.wrongly_denied) == (0, 0)
    assert report.reached["killed"] == report.reached["paused"] == 2
    assert report.generated > 5_000
