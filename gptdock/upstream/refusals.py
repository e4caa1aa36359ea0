"""Translates the upstream's refusals and failures into our errors, and says whether a retry may help."""

import asyncio
import json
import logging
import math
import re
from datetime import UTC, datetime
from typing import NamedTuple

import aiohttp

from gptdock.errors import APIError, ContextLengthExceeded, RateLimited, UpstreamError, UpstreamQuota, UpstreamRefused
from gptdock.upstream import retry

log = logging.getLogger(__name__)

MOST_ERROR_BYTES = 64 * 2**10
_NAME = re.compile(r"[\w.\[\]/+-]{1,100}", re.ASCII)  # anything else might quote the request
ERROR_SECONDS = 5.0  # for the body of a refusal


class Refusal(NamedTuple):
    """Why an attempt failed, whether a retry may help, and the seconds that the upstream asked to wait."""

    error: APIError
    again: bool = False
    after: float | None = None


def failed(exc: Exception, error: APIError, *, again: bool) -> Refusal:
    """An attempt that failed without a response, by `exc`; it is logged."""
    log.warning("upstream failed", extra={"fault": type(exc).__name__})
    error.__cause__ = exc
    return Refusal(error, again)


async def refusal(response: aiohttp.ClientResponse) -> Refusal:
    """What a response with a status other than 200 says; it is logged, and the response closed."""
    try:
        async with asyncio.timeout(ERROR_SECONDS):
            content = json.loads(await read(response, MOST_ERROR_BYTES))
    except (aiohttp.ClientError, OSError, ValueError, RecursionError):
        content = None
    finally:
        response.close()
    error = content.get("error") if isinstance(content, dict) else None
    code, param = (error.get("code"), error.get("param")) if isinstance(error, dict) else (None, None)
    field, told = name(param), {"status": response.status, "code": name(code), "field": name(param)}
    log.warning("upstream refused", extra={key: value for key, value in told.items() if value is not None})
    after = retry.retry_after(response.headers, datetime.now(UTC))
    ours = to_error(response.status, code, after, field)
    return Refusal(
        ours, not isinstance(ours, UpstreamQuota) and retry.is_wanted(response.status, response.headers), after
    )


def to_error(status: int, code: object, after: float | None = None, field: str | None = None) -> APIError:
    """The upstream's error as ours, by its code, otherwise by its status: 0 for an error event.

    `after` is the seconds that it asked to wait, `field` the one that it names.
    """
    if code == "insufficient_quota":
        return UpstreamQuota()
    if code == "context_length_exceeded":
        return ContextLengthExceeded()
    if status == 429 or code == "rate_limit_exceeded":
        return RateLimited(retry_after=max(1, math.ceil(after or 1)))
    if status == 400:
        return UpstreamRefused(field)
    return UpstreamError()


def name(value: object) -> str | None:
    """`value`, if it looks like the name of a field, a code or a type; otherwise None."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


async def read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body. Raises ValueError if it has more than `most` bytes."""
    data = bytearray()
    while piece := await response.content.readany():
        data += piece
        if len(data) > most:
            raise ValueError(f"the body has more than {most} bytes")
    return bytes(data)
