"""Calls DynamoDB for `store`: the only room that knows aiobotocore.

Every call ends within CALL_SECONDS. Whatever is not a clear answer raises LedgerUnavailable: the call may have been
applied, or may still be. botocore never repeats a call by itself: it could not tell whether the first had won. A
refusal is a clear answer, and raises Refused.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import ClientError

from gptdock.errors import LedgerUnavailable
from gptdock.settings import Settings
from gptdock.telemetry import metrics

CALL_SECONDS = 4.0  # connect 1 s + read 2 s, and what waiting for a pooled connection may add
_NOT_APPLIED = {"ConditionalCheckFailed", "TransactionConflict", "None"}

Refused = ClientError  # as `call` lets it pass: only where DynamoDB surely did nothing


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Any]:
    """aiobotocore's client, for the life of the process."""
    config = AioConfig(
        connect_timeout=1,
        read_timeout=2,
        max_pool_connections=64,
        parameter_validation=False,
        retries={"total_max_attempts": 1},
    )
    async with _session().create_client(
        "dynamodb",
        region_name=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url_dynamodb,
        aws_access_key_id=settings.aws_access_key_id or None,
        aws_secret_access_key=settings.aws_secret_access_key or None,
        aws_session_token=settings.aws_session_token or None,
        config=config,
    ) as client:
        yield client


@functools.cache
def _session() -> AioSession:
    return get_session()  # one for the process: for each, botocore parses megabytes of JSON anew


async def call(client: Any, operation: str, **parameters: Any) -> Mapping[str, Any]:
    """What one operation answers. Raises Refused, LedgerUnavailable."""
    with metrics.Timed(metrics.DYNAMODB, operation) as timer:
        try:
            async with _translated(CALL_SECONDS):
                answer: Mapping[str, Any] = await getattr(client, operation)(**parameters)
                return answer
        except Refused:
            timer.outcome = "refused"
            raise


async def pages(client: Any, operation: str, **parameters: Any) -> AsyncIterator[Mapping[str, Any]]:
    """The items of a query or a scan, consistently read, page by page."""
    while True:
        answer = await call(client, operation, ConsistentRead=True, **parameters)
        for item in answer["Items"]:
            yield item
        if "LastEvaluatedKey" not in answer:
            return
        parameters["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


async def create_table(client: Any, name: str, hash_key: str, range_key: str) -> None:
    """Create this table and wait until it exists; an existing one stays as it is."""
    keys = ((hash_key, "HASH"), (range_key, "RANGE"))
    try:
        await call(client, "describe_table", TableName=name)
    except Refused:
        await call(
            client,
            "create_table",
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
        )
        async with _translated(seconds=300):
            await client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})


@asynccontextmanager
async def _translated(seconds: float) -> AsyncIterator[None]:
    """Let refusals pass as botocore's ClientError; whatever else fails becomes LedgerUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except ClientError as exc:
        if _is_refusal(exc):
            raise
        raise LedgerUnavailable(fault=_code(exc)) from exc
    except Exception as exc:  # botocore's parsers, credential providers and HTTP raise what they like
        raise LedgerUnavailable(fault=type(exc).__name__) from exc


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))


def _is_refusal(exc: ClientError) -> bool:
    code = _code(exc)
    if code == "TransactionCanceledException":
        reasons = exc.response.get("CancellationReasons", [])
        return all(reason.get("Code") in _NOT_APPLIED for reason in reasons)
    if code == "ResourceNotFoundException":
        return bool(exc.operation_name == "DescribeTable")
    return code == "ConditionalCheckFailedException"
