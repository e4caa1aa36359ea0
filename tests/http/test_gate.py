"""How many completions may be open."""

import asyncio
from itertools import islice

import pytest

from gptdock.dev.script import BEFORE_HEAD, Script
from gptdock.errors import Draining, Overloaded
from gptdock.http.gate import Gate
from tests.harness.hostile import Fault, check_nothing_is_left, fault_of
from tests.harness.processes import PATIENCE_SECONDS


async def test_the_gate_lets_max_streams_pass_and_no_more():
    gate = Gate(2, request_timeout=60)

    with gate.passed():
        async with _other(gate):
            with pytest.raises(Overloaded):
                await _pass(gate)


async def test_a_completion_makes_room_however_it_ends():
    gate = Gate(1, request_timeout=60)

    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.passed():
            raise ZeroDivisionError

    await _pass(gate)


async def test_a_refused_completion_takes_no_room():
    gate = Gate(1, request_timeout=60)

    with gate.passed():
        for _ in range(3):
            with pytest.raises(Overloaded):
                await asyncio.create_task(_pass(gate))

    await _pass(gate)


async def test_cancel_ends_what_a_cut_does_not_reach():
    gate = Gate(1, request_timeout=60)
    entered = asyncio.Event()

    async def hang():
        with gate.passed():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await entered.wait()
    gate.cut()
    gate.cancel()

    await asyncio.wait([task], timeout=PATIENCE_SECONDS)
    assert task.cancelled()
    await _pass(gate)


@pytest.mark.parametrize("ends", [lambda gate: gate._look(), Gate.cut], ids=["deadline", "cut"])
async def test_what_came_in_the_turn_of_the_deadline_counts(ends):
    """After a stall of the process, what came meanwhile is read in the turn in which the deadline is due."""
    gate, loop = Gate(1, request_timeout=0), asyncio.get_running_loop()
    came = loop.create_future()

    async def wait() -> str:
        with gate.deadline():
            answer: str = await came
        for _ in range(3):
            await asyncio.sleep(0)
        return answer

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    came.set_result("the answer")
    ends(gate)

    assert (await waiting, waiting.cancelling()) == ("the answer", 0)


async def test_a_cut_in_the_turn_of_the_deadline_ends_a_completion_once():
    gate = Gate(1, request_timeout=0)

    async def wait() -> None:
        with pytest.raises(Draining), gate.deadline():
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    gate._look()
    gate.cut()

    await waiting
    assert waiting.cancelling() == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_question_beyond_max_streams_is_shed_before_any_hold(serve, stream):
    async with serve(max_streams=1) as service:
        service.openai.script = Script(hold_at=BEFORE_HEAD)
        first = asyncio.create_task(_read(service, stream=stream))
        await service.openai.journal.arrived()

        async with asyncio.timeout(PATIENCE_SECONDS), service.ask(stream=stream, client_id="c2") as response:
            fault = await fault_of(response)

        assert (fault, response.headers["Retry-After"]) == (Fault(503, "overloaded"), "1")
        async with service.session.get(f"{service.url}/v1/client/info?client_id=c2&product_id=p1") as info:
            assert await fault_of(info) == Fault(404, "client_not_found")
        assert service.openai.requests == 1
        service.openai.release()
        assert await first == 200
        await check_nothing_is_left(service, service.openai.journal[0].spent)


async def test_five_times_the_load_is_served_up_to_max_streams_and_shed_beyond(serve):
    async with serve(max_streams=20) as service:
        service.openai.script = Script(tokens=20, hold_at=3)
        asking = [asyncio.create_task(_ask_for(service, f"c{number}")) for number in range(100)]
        shed = [await each for each in islice(asyncio.as_completed(asking, timeout=PATIENCE_SECONDS * 4), 80)]
        await service.openai.journal.until(lambda: len(service.openai.journal) == 20)
        service.openai.release()
        answers = {client: answer for client, *answer in await asyncio.gather(*asking)}

        assert {(status, retry_after) for _, status, retry_after, _ in shed} == {(503, "1")}
        assert all(b'"overloaded"' in body for *_, body in shed)
        served = answers.keys() - {client for client, *_ in shed}
        assert all(answers[client][2].endswith(b"data: [DONE]\n\n") for client in served)
        assert service.openai.requests == len(served) == 20
        for client, *_ in shed:
            async with service.session.get(f"{service.url}/v1/client/info?client_id={client}&product_id=p1") as info:
                assert await fault_of(info) == Fault(404, "client_not_found")
        books = [await service.info(client) for client in served]
        assert sum(book["quota_held"] for book in books) == 0
        assert sum(book["quota_used"] for book in books) == sum(record.spent for record in service.openai.journal)


async def _ask_for(service, client_id):
    async with service.ask(stream=True, client_id=client_id) as response:
        return client_id, response.status, response.headers.get("Retry-After"), await response.read()


async def test_a_caller_who_leaves_makes_room(serve):
    async with serve(max_streams=1) as service:
        service.openai.script = Script(stall_at=3)
        async with service.ask(stream=True) as response:
            await service.openai.journal.sent(3)
            response.close()
        await service.openai.journal.left()
        service.openai.script = Script()

        assert await _read(service) == 200


async def test_a_refusal_makes_room(serve):
    async with serve(max_streams=1, default_token_quota=10) as service:
        statuses = [await _read(service) for _ in range(3)]

    assert statuses == [402] * 3


async def _read(service, **fields):
    async with service.ask(**fields) as response:
        await response.read()
        return response.status


async def _pass(gate):
    with gate.passed():
        return


class _other:  # noqa: N801 - used like a function
    """Another task that has passed."""

    def __init__(self, gate):
        self._gate = gate

    async def __aenter__(self):
        entered, self._leave = asyncio.Event(), asyncio.Event()

        async def stay():
            with self._gate.passed():
                entered.set()
                await self._leave.wait()

        self._task = asyncio.create_task(stay())
        await entered.wait()

    async def __aexit__(self, *exc):
        self._leave.set()
        await self._task
