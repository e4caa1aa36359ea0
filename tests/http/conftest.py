"""The event loops of these tests: a module with ON_EACH_LOOP has its tests run on asyncio's and on uvloop's."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.harness.service import take_the_plain_way

Factory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Factory]:
    """The loops of a test, by name."""
    factories: dict[str, Factory] = {"asyncio": asyncio.new_event_loop}
    if getattr(getattr(item, "module", None), "ON_EACH_LOOP", False):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
async def one_flow_on_each_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has each service use Tap and Poster on uvloop, as where it runs, and neither on asyncio's loop.

    The claims of these tests name neither; both on asyncio's loop have their tests in test_relay and test_relay_faults.
    """
    if not isinstance(asyncio.get_running_loop(), uvloop.Loop):
        take_the_plain_way(monkeypatch)
