"""Calls DynamoDB for `store`: the only module that knows aiobotocore.

aiobotocore takes 0.6 ms and more of CPU for a call, and 20 ms for a page of a scan. So the calls that requests and
reports wait for go through `dynamo`, with the credentials, the region and the endpoint that aiobotocore found. All
others, and all where a proxy or an endpoint asks for more than `dynamo` can, go through aiobotocore.

Every call ends within CALL_SECONDS; `dynamo` may take CREDENTIALS_SECONDS before that to renew those that expire.
Whatever is not a clear answer raises LedgerUnavailable: the call may have been applied, or may still be. botocore never
repeats a call by itself: it could not tell whether the first had won. A refusal is a clear answer, and raises Refused.

Every answer tells the time of DynamoDB to the client's clock, and has SEEN_AT: when it was given, see `clock`.
"""

import asyncio
import functools
import logging
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import ClientError
from botocore.httpsession import create_urllib3_context, get_cert_path
from botocore.utils import get_environ_proxies

from gptdock.errors import LedgerUnavailable
from gptdock.ledger.clock import Clock
from gptdock.ledger.dynamo import OPERATIONS, Dynamo
from gptdock.ledger.http_client import CONNECT_SECONDS, CONNECTIONS, READ_SECONDS, HTTPClient, Server
from gptdock.settings import Settings
from gptdock.telemetry import metrics

CALL_SECONDS = 4.0  # WAIT_SECONDS + READ_SECONDS of `dynamo`
CREATE_SECONDS = 300
SEEN_AT = "SeenAt"  # of an answer, or of a refusal's `response`: DynamoDB's time, in whole seconds, not later
_NOT_APPLIED = {"ConditionalCheckFailed", "TransactionConflict", "None"}

log = logging.getLogger(__name__)

Refused = ClientError  # as `call` lets it pass: only where DynamoDB surely did nothing


@dataclass(frozen=True, slots=True)
class Client:
    """The ways to one DynamoDB, and its clock."""

    aiobotocore: Any
    dynamo: Dynamo | None
    clock: Clock


@asynccontextmanager
async def connect(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Client]:
    """A client for the life of the process; `clock` learns DynamoDB's time."""
    clock = clock or Clock()
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
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
    ) as aiobotocore:
        dynamo = await _dynamo(aiobotocore.meta.endpoint_url, aiobotocore.meta.region_name, settings, clock)
        try:
            yield Client(aiobotocore, dynamo, clock)
        finally:
            if dynamo:
                await dynamo.close()


async def _dynamo(endpoint: str, region: str, settings: Settings, clock: Clock) -> Dynamo | None:
    """The thin client, as aiobotocore's is configured; None, with a line in the log, where it would not do the same."""
    credentials = await _credentials(settings)
    try:
        why_not = "no credentials" if credentials is None else _special(endpoint)
        tls = await asyncio.to_thread(_tls) if urlsplit(endpoint).scheme == "https" else None
        server = Server.at(endpoint, tls)
    except (
        OSError,
        ValueError,
    ) as exc:  # no CA bundle where AWS_CA_BUNDLE says: each of aiobotocore's calls will say so
        why_not = type(exc).__name__
    if why_not:
        log.info("DynamoDB is called through aiobotocore", extra={"why": why_not})
        return None
    return Dynamo(HTTPClient(server), region, credentials.get_frozen_credentials, clock)


async def _credentials(settings: Settings) -> Any:
    """What create_client uses: those of the settings, or else the session's own, which it refreshes."""
    if settings.aws_access_key_id:
        token = settings.aws_session_token or None
        return AioCredentials(settings.aws_access_key_id, settings.aws_secret_access_key, token)
    return await _session().get_credentials()


def _special(endpoint: str) -> str:
    """What about the way to this endpoint is more than `dynamo` knows; empty if nothing is."""
    parts = urlsplit(endpoint)
    if parts.scheme in get_environ_proxies(endpoint):
        return "a proxy"
    plain = parts.scheme in ("http", "https") and not parts.path.strip("/") and not parts.query and not parts.username
    return "" if plain else "an endpoint that is more than a host"


def _tls() -> ssl.SSLContext:
    """A context as botocore makes it, with the same certificates."""
    bundle = _session().get_config_variable("ca_bundle")
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True
    context.load_verify_locations(get_cert_path(bundle or os.environ.get("REQUESTS_CA_BUNDLE", True)))
    return context


@functools.cache
def _session() -> AioSession:
    return get_session()  # one for the process: for each, botocore parses megabytes of JSON anew


async def call(client: Client, operation: str, **parameters: Any) -> Mapping[str, Any]:
    """What one operation answers. Raises Refused; whatever else fails becomes LedgerUnavailable."""
    sent_at = client.clock.steady()
    with metrics.Timed(metrics.DYNAMODB, operation) as timer:
        try:
            if client.dynamo and operation in OPERATIONS:  # has deadlines of its own, which cost less
                answer = await client.dynamo.call(operation, parameters)
            else:
                async with asyncio.timeout(CALL_SECONDS):
                    answer = await getattr(client.aiobotocore, operation)(**parameters)
        except Exception as exc:  # botocore's parsers, credential providers and HTTP raise what they like
            if isinstance(exc, ClientError):
                _learn_from(exc, client.clock, sent_at)
            if not _is_refusal(exc):
                raise _unavailable(exc) from exc
            timer.outcome = "refused"
            raise
    answer[SEEN_AT] = client.clock.learn(_date(answer), sent_at)
    return answer


def _learn_from(exc: ClientError, clock: Clock, sent_at: float) -> None:
    if _is_refusal(exc) or (_date(exc.response) and not _is_gateways(exc)):
        exc.response[SEEN_AT] = clock.learn(_date(exc.response), sent_at)


def _is_gateways(exc: ClientError) -> bool:
    """Whether the error came from a box in front of DynamoDB, whose clock is another: it has only a status."""
    return _code(exc).isdigit()


def _date(answer: Mapping[str, Any]) -> str:
    try:
        return str(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except KeyError:
        return ""


async def pages(client: Client, operation: str, **parameters: Any) -> AsyncIterator[Mapping[str, Any]]:
    """The items of a query or a scan, consistently read, page by page; each with the SEEN_AT of its page."""
    while True:
        answer = await call(client, operation, ConsistentRead=True, **parameters)
        for item in answer["Items"]:
            item[SEEN_AT] = answer[SEEN_AT]
            yield item
        if "LastEvaluatedKey" not in answer:
            return
        parameters["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


async def create_table(client: Client, name: str, hash_key: str, range_key: str) -> None:
    """Create this table and wait until it exists; an existing one stays as it is. Raises LedgerUnavailable."""
    keys = ((hash_key, "HASH"), (range_key, "RANGE"))
    if await _status_of(client, name):
        return
    await call(
        client,
        "create_table",
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
    )
    for _ in range(CREATE_SECONDS):
        if await _status_of(client, name) == "ACTIVE":
            return
        await asyncio.sleep(1)
    raise LedgerUnavailable(fault="table not active")


async def _status_of(client: Client, table: str) -> str:
    """The status of a table; empty if there is none."""
    try:
        return str((await call(client, "describe_table", TableName=table))["Table"]["TableStatus"])
    except Refused:
        return ""


def _unavailable(exc: Exception) -> LedgerUnavailable:
    return LedgerUnavailable(fault=_code(exc) if isinstance(exc, ClientError) else type(exc).__name__)


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))


def is_too_big(exc: ClientError) -> bool:
    """Whether an update was refused because the item would then be larger than DynamoDB's 400 KB."""
    return _code(exc) == "ValidationException" and "Item size" in str(exc.response["Error"].get("Message"))


def _is_refusal(exc: Exception) -> bool:
    if not isinstance(exc, ClientError) or exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 400:
        return False
    code = _code(exc)
    if code == "TransactionCanceledException":
        reasons = exc.response.get("CancellationReasons", [])
        return all(reason.get("Code") in _NOT_APPLIED for reason in reasons)
    if code == "ResourceNotFoundException":
        return bool(exc.operation_name == "DescribeTable")
    return code == "ConditionalCheckFailedException" or (exc.operation_name == "UpdateItem" and is_too_big(exc))
