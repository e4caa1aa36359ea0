"""DynamoDB's protocol for the calls that requests and reports make: JSON 1.0 over HTTP, signed.

The header x-amz-crc32 is not checked: TCP, TLS and Content-Length protect the bytes, and anything but JSON is a
fault.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from botocore.exceptions import ClientError

from gptdock.ledger import sigv4
from gptdock.ledger.http_answer import Answer, BrokenAnswer
from gptdock.ledger.http_client import HTTPClient

OPERATIONS = {
    "batch_write_item": "BatchWriteItem",
    "get_item": "GetItem",
    "query": "Query",
    "scan": "Scan",
    "transact_write_items": "TransactWriteItems",
    "update_item": "UpdateItem",
}


class Dynamo:
    """One DynamoDB. `credentials` gives those that are valid now, and is asked for each call.

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

    async def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What one of OPERATIONS answers, with ResponseMetadata as botocore has it, as far as it is used here. Raises
        botocore's ClientError for an error of DynamoDB's, and other classes for whatever else fails: nobody knows then
        whether it was applied.
        """
        name, body = OPERATIONS[operation], orjson.dumps(parameters)
        signed = sigv4.headers(
            self._http.server.header, self._region, await self._credentials(), name, body, int(self._clock())
        )
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
