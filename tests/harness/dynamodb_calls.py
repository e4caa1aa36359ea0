"""Calls of DynamoDB by each of our two clients, for tests of both: `both_ways` marks a test that runs by each."""

from typing import Any

import pytest

from gptdock.errors import LedgerUnavailable
from gptdock.ledger import aws
from tests.harness.service import NOBODY, make_settings

ITEM = {"client_id": {"S": "c1"}}
DIRECT, THROUGH_AIOBOTOCORE = "direct", "through aiobotocore"

both_ways = pytest.mark.usefixtures("each_way")


async def update(url: str) -> Any:
    """What an update of an item answers, at this endpoint."""
    async with aws.connect(make_settings(url, NOBODY)) as client:
        return await aws.call(client, "update_item", TableName="t", Key=ITEM)


async def fault_of(url: str) -> str:
    with pytest.raises(LedgerUnavailable) as raised:
        await update(url)
    return raised.value.fault


def way(client: aws.Client) -> str:
    return DIRECT if client.dynamo else THROUGH_AIOBOTOCORE
