"""DynamoDB's protocol for the calls that requests and reports make: JSON 1.0 over HTTP, signed.

The header x-amz-crc32 is not checked: TCP, TLS and Content-Length protect the bytes, and anything but JSON is a
fault.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from botocore.exceptions import ClientError

from gptdock.ledger import sigv4
from gptdock.ledger.http_answer import Answer, BrokenAnswer
from gptdock.ledger.http_client import HTTPClient

CREDENTIALS_SECONDS = 2.0  # to renew those that expire
OPERATIONS = {
    "batch_write_item": "BatchWriteItem",
    "get_item": "GetItem",
    "query": "Query",
    "scan": "Scan",
    "transact_write_items": "TransactWriteItems",
    "update_item": "UpdateItem",
}


class Dynamo:
    """One DynamoDB. `credentials` gives those that are valid now, and is asked once in each second that has a call.

    Calls are signed by `clock`, DynamoDB's own: it refuses what was signed five minutes ago, or in its future.
    """

    def __init__(
        self,
        http: HTTPClient,
        region: str,
        credentials: Callable[[], Awaitable[sigv4.Credentials]],
        clock: Callable[[], float],
    ) -> None:
        self._http, self._region, self._credentials, self._clock = http, region, credentials, clock
        self._valid: tuple[int, sigv4.Credentials] | None = None  # in this second

    async def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What one of OPERATIONS answers, with ResponseMetadata as botocore has it, as far as it is used here. Raises
        botocore's ClientError for an error of DynamoDB's, and other classes for whatever else fails, which is known
        within CREDENTIALS_SECONDS, WAIT_SECONDS and READ_SECONDS: nobody knows then whether it was applied.
        """
        name, body, second = OPERATIONS[operation], orjson.dumps(parameters), int(self._clock())
        if self._valid is None or self._valid[0] != second:
            async with asyncio.timeout(CREDENTIALS_SECONDS):
                self._valid = second, await self._credentials()
        signed = sigv4.headers(self._http.server.header, self._region, self._valid[1], name, body, second)
        head = f"POST / HTTP/1.1\r\n{signed}Accept-Encoding: identity\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = await self._http.send(head.encode() + body)
        return _read(answer, name)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()


def _read(answer: Answer, operation: str) -> dict[str, Any]:
    content = _object(answer.body)
    metadata = {"ResponseMetadata": {"HTTPStatusCode": answer.status, "HTTPHeaders": {"date": answer.date}}}
    if answer.status == 200 and content is not None:
        return content | metadata
    if answer.status == 200 or not _are_reasons((content or {}).get("CancellationReasons", [])):
        raise BrokenAnswer("no answer of DynamoDB's")
    error = content or {}
    code = str(error.get("__type") or answer.status).partition(":")[0].rpartition("#")[2]
    told = {"Error": {"Code": code, "Message": error.get("message", "")}}
    raise ClientError({**error, **told, **metadata}, operation)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None


def _are_reasons(reasons: object) -> bool:
    return isinstance(reasons, list) and all(isinstance(reason, dict) for reason in reasons)
