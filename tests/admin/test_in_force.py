"""The QUOTA_PERIOD in force is written by who serves, and compared by who commands."""

import asyncio
import logging

import pytest

from gptdock.admin import in_force
from gptdock.errors import SettingsError
from gptdock.ledger.store import Store
from tests.harness.processes import PATIENCE_SECONDS
from tests.harness.proxy import Proxy

DIFFERS = "QUOTA_PERIOD is another than before"


async def test_a_command_with_the_period_of_those_that_serve_agrees(store: Store):
    async with in_force.announced(store, "month"):
        await in_force.check(store, "month")


async def test_a_command_with_another_period_is_told_which_is_in_force(store: Store):
    async with in_force.announced(store, "month"):
        with pytest.raises(SettingsError) as raised:
            await in_force.check(store, "none")

    assert str(raised.value) == "QUOTA_PERIOD is none here, but the processes that serve go by month"


async def test_who_serves_writes_its_period_down(serve):
    async with serve(quota_period="month") as service:
        assert await service.store.period_in_force() == "month"


async def test_before_anyone_served_no_period_is_in_force(store: Store):
    await in_force.check(store, "day")


async def test_the_process_that_starts_last_decides_and_says_if_it_changes_something(store: Store, caplog):
    caplog.set_level(logging.INFO)
    for kind in ("none", "none", "day"):
        async with in_force.announced(store, kind):
            pass

    assert await store.period_in_force() == "day"
    [record] = caplog.records
    assert (record.message, vars(record)["before"], vars(record)["now"]) == (DIFFERS, "none", "day")


async def test_a_period_is_announced_as_soon_as_dynamodb_answers(store: Store, behind: Store, proxy: Proxy):
    proxy.always = "break"
    async with in_force.announced(behind, "month"):
        assert await store.period_in_force() is None
        proxy.always = None
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await store.period_in_force() is None:
                continue

    assert await store.period_in_force() == "month"


async def test_the_announcement_of_a_period_ends_with_its_process(behind: Store, proxy: Proxy):
    proxy.always = "break"
    async with in_force.announced(behind, "month"):
        pass

    assert [task for task in asyncio.all_tasks() if task.get_name() == "in force"] == []
