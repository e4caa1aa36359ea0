"""The clients of the nemesis and their callers, who ask on both routes, and some of whom leave."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

from gptdock.accounts import Account
from gptdock.ledger.book import LEAST_COMPLETION_TOKENS, MARGIN_TOKENS, Book
from tests.long.nemesis_upstreams import MODELS
from tests.long.nemesis_worker import Worker

PATIENCE_SECONDS = 300.0  # on a busy machine all processes stand still for more than a minute, until a lease is swept
CALLERS, ASKS = 2, 3  # callers of each client, and how often each asks
MOST_PROMPT_TOKENS, MOST_COMPLETION_TOKENS = 120, 600
LEAST_DEMAND = MOST_PROMPT_TOKENS + MARGIN_TOKENS + LEAST_COMPLETION_TOKENS
MOST_HELD = CALLERS * ASKS * (MOST_PROMPT_TOKENS + MARGIN_TOKENS + MOST_COMPLETION_TOKENS)  # of one client


class Denial(NamedTuple):
    """A request was denied by this status; `used` is the book's, read after that."""

    status: int
    used: int


@dataclass
class Client:
    """A client of one seed, with one mishap. `tag` names it in short; `quotas` are all that an operator gave it."""

    tag: str
    mishap: str
    quotas: list[int]
    has_long_ids: bool
    denials: list[Denial] = field(default_factory=list)
    requests: int = 0
    errors: int = 0  # answers of status 500

    @property
    def account(self) -> Account:
        return Account(self.tag.ljust(127, "ж") if self.has_long_ids else self.tag, "p")

    @property
    def question(self) -> str:
        """What its callers ask, and nobody else."""
        return f"I am {self.tag}"

    def wrong_denials(self, taken_back: int) -> list[Denial]:
        """The denials of who had enough, whatever happened before the book was read.

        `used` falls only by what was taken back. So when a request was denied, no more was used than its denial and
        `taken_back` say, and no less was left or held than the smallest quota less that: 402 is wrong if this was
        enough, and 429 if it was enough with all holds taken at once.
        """
        needed = {402: LEAST_DEMAND, 429: LEAST_DEMAND + MOST_HELD}
        least = min(self.quotas) - taken_back
        return [denial for denial in self.denials if least - denial.used >= needed[denial.status]]


async def call(
    client: Client,
    workers: list[Worker],
    session: aiohttp.ClientSession,
    rng: random.Random,
    read: Callable[[Client], Awaitable[Book]],
) -> None:
    """Ask ASKS times. `read` reads the book of a client that was denied."""
    for _ in range(ASKS):
        await asyncio.sleep(rng.random() * 0.3)
        client.requests += 1
        status = await _ask(client, rng.choice(workers).url, session, rng)
        client.errors += status == 500
        if status in (402, 429):
            client.denials.append(Denial(status, (await read(client)).used))


async def _ask(client: Client, url: str, session: aiohttp.ClientSession, rng: random.Random) -> int | None:
    path, headers, body = _request(client, rng)
    leaves = client.mishap in ("leave", "faults") and rng.random() < 0.6
    patience = rng.random() * 0.4 if leaves else PATIENCE_SECONDS
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(patience), session.post(url + path, json=body, headers=headers) as response:
            if leaves and rng.random() < 0.4:
                await asyncio.sleep(0.4)  # it does not read, then leaves
            else:
                await response.read()
            return response.status
    return None


def _request(client: Client, rng: random.Random) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Path, headers and body of a request for an answer of some speed."""
    account, question = client.account, client.question
    headers = {"X-Request-Id": f"{client.tag}-".ljust(128, "r")} if client.has_long_ids else {}
    model, stream = rng.choice(list(MODELS)), rng.random() < 0.7
    if model == "gpt-4o-mini":
        return "/v1/ask", headers, {"question": question, "user_id": 1, "stream": stream} | account._asdict()
    headers |= {"X-Client-Id": account.client_id, "X-Product-Id": account.product_id}
    messages = [{"role": "user", "content": question}]
    body = {"model": model, "messages": messages, "stream": stream}
    return "/v1/chat/completions", headers, body | {"max_completion_tokens": rng.choice([16, 100, 600])}
