"""Tries what is made for OpenAI in JavaScript: each call of `npm/clients.mjs`, to each end that it can have."""

import json
import signal
from typing import Any

from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import BEFORE_HEAD, Script
from tests.long.examples import Place, charged, finished, served

CALLS = (
    *("openai chat", "openai chat, streamed", "openai responses", "openai responses, streamed", "openai embeddings"),
    *("vercel generateText", "vercel streamText", "vercel streamText, a tool", "vercel generateObject"),
    *("langchain", "langchain, streamed", "langchain responses, streamed", "langchain, a schema"),
)
BY_RESPONSES = tuple(call for call in CALLS if call.startswith(("openai responses", "vercel", "langchain responses")))
WITH_A_TOOL = "vercel streamText, a tool"
EMBEDDING_MODEL = "text-embedding-3-small"
PACE = 0.01  # seconds for a token: what is not seen is charged by its time
CUTS = tuple(Script(tokens=20, token_seconds=PACE, cut=cut, cut_at=9) for cut in ("close", "rst", "clean_no_done"))


async def gives_what_came(place: Place, program: str, call: str, openai: SimulatedOpenAI) -> None:
    """And it is charged exactly."""
    async with served(openai, openai_embedding_models=EMBEDDING_MODEL) as service:
        [told] = await _told(place, program, service.url, call)

        assert told.get("came"), told
        assert len(openai.journal) == (2 if call == WITH_A_TOOL else 1)
        assert await charged(service) == sum(record.spent for record in openai.journal)


async def leaves_half_way(place: Place, program: str, call: str, openai: SimulatedOpenAI) -> None:
    """OpenAI is stopped, and the client charged for what was generated until then."""
    stall_at = BEFORE_HEAD if "embeddings" in call else 20
    openai.next(Script(tokens=100, token_seconds=PACE, stall_at=stall_at))
    async with (
        served(openai, openai_embedding_models=EMBEDDING_MODEL) as service,
        place.running(program, service.url, call) as process,
    ):
        await openai.journal.until(lambda: any(record.events >= stall_at for record in openai.journal))
        process.send_signal(signal.SIGINT)
        [record] = await openai.journal.left()
        [told] = _lines((await finished(process)).out)

        assert "raised" in told, told
        assert await charged(service) >= max(record.spent, record.prompt_tokens)


async def tells_that_the_quota_is_used_up(place: Place, program: str, call: str, openai: SimulatedOpenAI) -> None:
    """By its status; OpenAI is not asked."""
    async with served(openai, openai_embedding_models=EMBEDDING_MODEL, default_token_quota=5) as service:
        [told] = await _told(place, program, service.url, call)

    assert (told.get("status"), openai.requests) == (402, 0), told


async def fails_if_the_answer_is_cut(place: Place, program: str, call: str, openai: SimulatedOpenAI) -> None:
    """It does not ask again, and never shows a short answer as a whole one."""
    openai.next(*CUTS)
    async with served(openai, openai_embedding_models=EMBEDDING_MODEL) as service:
        told = await _told(place, program, service.url, call, len(CUTS))

        assert ["raised" in each for each in told] == [True] * len(CUTS), told
        assert openai.requests == len(CUTS)
        assert await charged(service) >= sum(record.spent for record in openai.journal)


async def fails_if_the_response_failed(place: Place, program: str, call: str, openai: SimulatedOpenAI) -> None:
    """OpenAI says so at its end; it is charged by its usage."""
    openai.next(Script(tokens=20, failed=True, error_at=9 if "stream" in call else None))
    async with served(openai) as service:
        [told] = await _told(place, program, service.url, call)

        assert "raised" in told, told
        assert await charged(service) == openai.journal[0].spent


async def _told(place: Place, program: str, url: str, call: str, times: int = 1) -> list[dict[str, Any]]:
    return _lines((await place.run(program, url, call, str(times))).out)


def _lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


CLAIMS = (gives_what_came, leaves_half_way, tells_that_the_quota_is_used_up, fails_if_the_answer_is_cut)
CLAIMS_BY_RESPONSES = (fails_if_the_response_failed,)
