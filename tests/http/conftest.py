"""The event loops of these tests: a module with ON_EACH_LOOP has its tests run on asyncio's and on uvloop's."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

Factory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Factory]:
    """The loops of a test, by name."""
    factories: dict[str, Factory] = {"asyncio": asyncio.new_event_loop}
    if getattr(getattr(item, "module", None), "ON_EACH_LOOP", False):
        factories["uvloop"] = uvloop.new_event_loop
    return factories
