"""A request is cancelled at its first, second, ... last await: the books balance after each."""

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from gptdock.dev.journal import Record
from gptdock.dev.script import Script
from gptdock.http import middlewares
from gptdock.http.passage import Passage
from gptdock.upstream.sse import Event
from tests.harness.hostile import check_nothing_is_left
from tests.harness.service import Service

MOST_AWAITS = 60


class Cancelling:
    """Awaits a coroutine and cancels its task at the `at`-th step; if `again`, at each later one too.

    A step is a wait of the task, or an event that is passed on while it waits.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int, *, again: bool) -> None:
        self.waits = 0
        self._coroutine, self._at, self._again = coroutine, at, again
        self._task: asyncio.Task[Any] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        self._task = asyncio.current_task()
        step, argument = self._coroutine.send, None
        while True:
            try:
                waited_for = step(argument)
            except StopIteration as stop:
                return stop.value
            self.step()  # before the future is yielded, so that the task is cancelled while it waits for it
            try:
                step, argument = self._coroutine.send, (yield waited_for)
            except BaseException as exc:
                step, argument = self._coroutine.throw, exc

    def step(self) -> None:
        assert self._task is not None
        self.waits += 1
        if self.waits == self._at or (self._again and self.waits > self._at):
            self._task.cancel()


@pytest.fixture
def cancel(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Cancels the handler of the next question by `at` and `again`; `cancelling` is then its Cancelling."""
    plan: dict[str, Any] = {"at": 0, "again": False}
    check = middlewares.check_middleware

    @web.middleware
    async def cancelling(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != "/v1/ask":
            return await check(request, handler)
        plan["cancelling"] = Cancelling(check(request, handler), plan["at"], again=plan["again"])
        response: web.StreamResponse = await plan["cancelling"]
        return response

    take, take_alike = Passage.take, Passage.take_alike

    def taking(passage: Passage, events: list[Event]) -> bool:
        plan["cancelling"].step()
        return take(passage, events)

    def taking_alike(passage: Passage, data: bytes) -> bool | None:
        goes_on = take_alike(passage, data)
        if goes_on is not None:
            plan["cancelling"].step()
        return goes_on

    monkeypatch.setattr(middlewares, "check_middleware", cancelling)
    monkeypatch.setattr(Passage, "take", taking)
    monkeypatch.setattr(Passage, "take_alike", taking_alike)
    return plan


async def ask(service: Service, *, stream: bool) -> bytes:
    """The body of an answer, as far as it came before the connection broke."""
    body = b""
    with suppress(aiohttp.ClientError):
        async with service.ask(stream=stream) as response:
            while data := await response.content.readany():
                body += data
    return body


def check_charge(record: Record | None, used: int, shown: bytes) -> None:
    """The upstream's number is charged exactly if it came, otherwise at least what was received."""
    if record is None:
        assert used == 0
    elif record.completed:
        assert used == record.spent
    else:
        assert used >= record.spent - 1  # one token may be in flight
        assert used >= record.prompt_tokens + shown.count(b'"content":') - 1  # the role's event has an empty content


async def balances(service: Service, cancel: dict[str, Any], at: int, *, stream: bool, again: bool) -> bool:
    """Ask, be cancelled at step `at`, and compare the books with the upstream; False if there was no such step."""
    before, journal = await service.used(), service.openai.journal
    asked = len(journal)
    service.openai.script = Script(tokens=4, token_seconds=0.02, piece=50)  # slow: at most one is on its way
    cancel.update(at=at, again=again)

    shown = await ask(service, stream=stream)

    waits = cancel["cancelling"].waits
    cancel.update(at=0, again=False)
    await journal.ended(len(journal))
    used = await service.used() - before
    check_charge(journal[asked] if len(journal) > asked else None, used, shown)
    await check_nothing_is_left(service, used=before + used)
    return bool(waits >= at)


@pytest.mark.parametrize("again", [False, True], ids=["once", "again_and_again"])
@pytest.mark.usefixtures("each_flow")
async def test_books_balance_wherever_a_stream_is_cancelled(cancel, service: Service, again: bool):
    await ask(service, stream=True)

    reached = [at for at in range(1, MOST_AWAITS) if await balances(service, cancel, at, stream=True, again=again)]

    assert reached == list(range(1, len(reached) + 1))
    assert len(reached) > 10  # the hold, the head, each event, the end


@pytest.mark.parametrize("again", [False, True], ids=["once", "again_and_again"])
async def test_books_balance_wherever_a_whole_answer_is_cancelled(cancel, serve, again: bool):
    async with serve() as service:
        await ask(service, stream=False)
    reached = 0
    while reached < MOST_AWAITS:
        async with serve() as service:  # a new service, so that it has to connect to the upstream
            if not await balances(service, cancel, reached + 1, stream=False, again=again):
                break
        reached += 1

    assert 3 < reached < MOST_AWAITS
