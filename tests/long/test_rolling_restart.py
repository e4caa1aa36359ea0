"""A rolling restart by the commands of the guide for operators: no caller notices it.

`make restart` does it with more callers, for longer.
"""

from pathlib import Path

from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import Script
from tests.harness.supervisord import WORKERS, supervised
from tests.long.restart import read_books, restart_under_load, restarts


async def test_a_rolling_restart_under_load_fails_no_request(tmp_path: Path, dynamodb: str, openai: SimulatedOpenAI):
    openai.script = Script(tokens=20, token_seconds=0.01)

    async with supervised(tmp_path, dynamodb, openai.url) as supervisor:
        report = await restart_under_load(supervisor, callers=10)
        await read_books(tmp_path, openai, report)

    assert report.failures == []
    assert report.restarted == len(WORKERS)
    assert report.requests == len(openai.journal) >= 10 * (1 + len(WORKERS))
    assert report.generated == report.charged > 0
    assert (report.held, report.drift) == (0, 0)


def test_the_guide_restarts_one_process_after_the_other():
    assert restarts() == [["restart", worker] for worker in WORKERS]
