"""What the page of `gptdock dev` can have the simulated OpenAI play: `POST /dev/next`, behind the key of callers."""

import json
from dataclasses import replace

from aiohttp import web

from gptdock.dev.openai import SimulatedOpenAI
from gptdock.dev.script import Script
from gptdock.errors import InvalidRequest

HUMAN_PACE = Script(first_event_seconds=0.3, token_seconds=0.03)
PLAYS = {
    "break": replace(HUMAN_PACE, cut="close", cut_at=20),
    "slow": replace(HUMAN_PACE, first_event_seconds=2, token_seconds=0.15),
}


def add_to(app: web.Application, openai: SimulatedOpenAI) -> None:
    """Let the next answer be one of PLAYS."""

    async def play_next(request: web.Request) -> web.Response:
        try:
            script = PLAYS[json.loads(await request.read())["play"]]
        except (ValueError, KeyError, TypeError) as exc:
            raise InvalidRequest(f"play must be one of {', '.join(PLAYS)}.", param="play") from exc
        openai.next(script)
        return web.json_response({})

    app.router.add_post("/dev/next", play_next)
