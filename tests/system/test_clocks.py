"""Real processes on machines whose clocks are wrong: DynamoDB's decides, so nobody's lease ends sooner for it."""

from pathlib import Path

import aiohttp
import pytest

from gptdock.accounts import Account
from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import Script
from gptdock.ledger.store import Store
from tests.harness.processes import Running, environment, gptdock_ahead, run, serving
from tests.harness.service import KEY, QUESTION

ACCOUNT = Account("c1", "p1")
MOST = 1070  # tokens: enough for one answer
SETTINGS = {"MAX_COMPLETION_TOKENS": "1000", "PROGRESS_SECONDS": "2"}


@pytest.mark.parametrize("skew", [120, -120])
async def test_a_wrong_clock_of_an_operator_frees_no_tokens_of_a_living_process(
    tmp_path: Path, dynamodb: str, store: Store, openai: SimulatedOpenAI, skew: int
):
    await store.open_book(ACCOUNT, "all", MOST, "now")
    openai.script = Script(tokens=900, hold_at=10)
    env = environment(dynamodb, openai.url, **SETTINGS)
    async with (
        serving(tmp_path, env) as one,
        serving(tmp_path, env) as other,
        aiohttp.ClientSession() as session,
        _asked(session, one) as first,
    ):
        await openai.journal.sent(10)
        shown = await run("client", "show", *ACCOUNT, cwd=tmp_path, env=env, command=gptdock_ahead(str(skew)))
        openai.script = Script(tokens=900)
        async with _asked(session, other) as second:
            await second.read()
        openai.release()
        await first.read()

    assert (shown.code, second.status) == (0, 429)
    assert sum(record.spent for record in openai.journal) <= MOST


def _asked(session: aiohttp.ClientSession, process: Running):
    headers = {"Authorization": f"Bearer {KEY}"}
    return session.post(f"{process.url}/v1/ask", json=QUESTION | {"stream": True}, headers=headers)
