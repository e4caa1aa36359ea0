"""A blocked event loop is noticed."""

import time

from gptdock.telemetry.watchdog import BLOCKED_SECONDS, TICK_SECONDS
from tests.harness.service import Service, sse_data


async def test_a_blocked_loop_is_logged_and_the_service_goes_on(service: Service, caplog):
    time.sleep(TICK_SECONDS + 2 * BLOCKED_SECONDS)  # noqa: ASYNC251 - this is the fault

    async with service.ask(stream=True) as response:
        assert sse_data(await response.read())[-1] == b"[DONE]"

    record, *_ = [each for each in caplog.records if each.message == "event loop was blocked"]  # of several, maybe
    assert record.levelname == "WARNING"
    assert record.seconds > BLOCKED_SECONDS
