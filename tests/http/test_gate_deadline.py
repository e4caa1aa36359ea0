"""Until when a completion may be open: to its deadline, or to a cut of all."""

import asyncio
import time

import pytest

from gptdock.errors import Draining, UpstreamTimeout
from gptdock.http.gate import Gate
from tests.harness.processes import PATIENCE_SECONDS


async def test_a_deadline_ends_what_takes_too_long():
    gate = Gate(1, request_timeout=0.01)

    with pytest.raises(UpstreamTimeout), gate.deadline():
        await asyncio.Event().wait()


async def test_each_deadline_ends_though_one_timer_serves_them_all():
    gate = Gate(9, request_timeout=0.02)

    async def late(start: float) -> None:
        await asyncio.sleep(start)  # deadlines that fall due one after the other
        with gate.deadline():
            await asyncio.Event().wait()

    async with asyncio.timeout(PATIENCE_SECONDS):
        results = await asyncio.gather(late(0), late(0.01), late(0.015), return_exceptions=True)

    assert [type(result) for result in results] == [UpstreamTimeout] * 3


async def test_a_deadline_that_was_kept_is_forgotten():
    gate = Gate(1, request_timeout=60)

    with gate.deadline():
        pass

    assert not gate._due
    gate.cut()
    await asyncio.sleep(0)  # where a cancellation would be raised


async def test_a_cut_ends_all_that_is_open_and_all_that_comes_after():
    gate = Gate(9, request_timeout=60)
    tasks = [asyncio.create_task(_wait(gate)) for _ in range(3)]
    await asyncio.sleep(0)

    gate.cut()

    async with asyncio.timeout(PATIENCE_SECONDS):
        results = await asyncio.gather(*tasks, _wait(gate), return_exceptions=True)
    assert [type(result) for result in results] == [Draining] * 4


async def test_after_a_cut_nothing_begins():
    gate = Gate(1, request_timeout=60)
    gate.cut()

    with pytest.raises(Draining), gate.deadline():
        pytest.fail("it began")

    await asyncio.sleep(0)  # where a cancellation would be raised


async def test_a_deadline_that_passed_leaves_no_cancellation_behind():
    gate, task = Gate(1, request_timeout=0.01), asyncio.current_task()

    for _ in range(2):
        with pytest.raises(UpstreamTimeout), gate.deadline():
            await asyncio.Event().wait()

        assert task is not None
        assert task.cancelling() == 0


@pytest.mark.parametrize("cut_first", [True, False])
async def test_a_cancellation_from_outside_stays_one_though_a_cut_comes_with_it(cut_first):
    gate = Gate(1, request_timeout=60)
    task = asyncio.create_task(_wait(gate))
    await asyncio.sleep(0)

    if cut_first:
        gate.cut()
    task.cancel()
    if not cut_first:
        gate.cut()

    await asyncio.wait([task], timeout=PATIENCE_SECONDS)
    assert task.cancelled()
    assert task.cancelling() == 1


async def test_a_deadline_holds_where_a_task_goes_on_after_its_cancellation():
    """What was cancelled before the block does not make the deadline's own cancellation another's."""
    gate, entered = Gate(1, request_timeout=0.01), asyncio.Event()

    async def goes_on():
        try:
            entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with gate.deadline():
                await asyncio.Event().wait()

    task = asyncio.create_task(goes_on())
    await entered.wait()
    task.cancel()

    with pytest.raises(UpstreamTimeout):
        await asyncio.wait_for(task, PATIENCE_SECONDS)


async def test_an_error_that_comes_of_the_end_of_a_deadline_is_left_alone():
    gate = Gate(1, request_timeout=0.01)

    async def fails_at_its_end():
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), gate.deadline():
        await fails_at_its_end()

    await asyncio.sleep(0)  # where a cancellation would be raised


async def test_another_timeout_within_a_deadline_is_left_alone():
    gate = Gate(1, request_timeout=60)

    with gate.deadline(), pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()


async def test_a_cut_bears_a_deadline_that_falls_due_with_it():
    """The loop was blocked until both were due: what is cancelled already is not cancelled once more."""
    gate, loop = Gate(1, request_timeout=0.01), asyncio.get_running_loop()
    cut = loop.create_future()

    def late():
        gate.cut()
        cut.set_result(None)

    async def completion():
        with gate.deadline():
            loop.call_later(0.011, late)
            time.sleep(0.03)  # noqa: ASYNC251 - the block
            await asyncio.Event().wait()

    with pytest.raises(Draining):
        await completion()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await cut


async def _wait(gate):
    with gate.passed(), gate.deadline():
        await asyncio.Event().wait()
