"""What the upstream's refusals and failures mean: our error, and whether another try may help."""

import asyncio
import json
import logging
import math
import re
from datetime import UTC, datetime
from typing import NamedTuple

import aiohttp

from gptdock import retry
from gptdock.errors import APIError, ContextLengthExceeded, RateLimited, UpstreamError, UpstreamQuota, UpstreamRefused

log = logging.getLogger(__name__)

MOST_ERROR_BYTES = 64 * 2**10
_NAME = re.compile(r"[\w.\[\]-]{1,100}", re.ASCII)  # of a field; anything else might quote the request
ERROR_SECONDS = 5.0  # to read the body of a refusal


class Refusal(NamedTuple):
    """Why a try failed, whether another may help, and the seconds that the upstream asked to wait."""

    error: APIError
    again: bool = False
    after: float | None = None


def failed(exc: Exception, error: APIError, *, again: bool) -> Refusal:
    """A try that failed without an answer."""
    log.warning("upstream failed", extra={"fault": type(exc).__name__})
    error.__cause__ = exc
    return Refusal(error, again)


async def refusal(response: aiohttp.ClientResponse) -> Refusal:
    """What an answer with another status than 200 says; the response is closed."""
    try:
        async with asyncio.timeout(ERROR_SECONDS):
            content = json.loads(await read(response, MOST_ERROR_BYTES))
    except (aiohttp.ClientError, OSError, ValueError, RecursionError):
        content = None
    finally:
        response.close()
    error = content.get("error") if isinstance(content, dict) else None
    code, param = (error.get("code"), error.get("param")) if isinstance(error, dict) else (None, None)
    field = field_name(param)
    told = {"status": response.status, "code": None if code is None else str(code)[:100], "field": field}
    log.warning("upstream refused", extra={name: value for name, value in told.items() if value is not None})
    after = retry.retry_after(response.headers, datetime.now(UTC))
    ours = to_error(response.status, code, after, field)
    return Refusal(
        ours, not isinstance(ours, UpstreamQuota) and retry.is_wanted(response.status, response.headers), after
    )


def to_error(status: int, code: object, after: float | None = None, field: str | None = None) -> APIError:
    """The upstream's error in our words: by its status, its code, and the field that it names."""
    if code == "insufficient_quota":
        return UpstreamQuota()
    if code == "context_length_exceeded":
        return ContextLengthExceeded()
    if status == 429 or code == "rate_limit_exceeded":
        return RateLimited(retry_after=max(1, math.ceil(after or 1)))
    if status == 400:
        return UpstreamRefused(field)
    return UpstreamError()


def field_name(param: object) -> str | None:
    """What the upstream says was wrong, if it looks like the name of a field."""
    return param if isinstance(param, str) and _NAME.fullmatch(param) else None


async def read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body; ValueError if it has more than `most` bytes."""
    data = bytearray()
    while piece := await response.content.readany():
        data += piece
        if len(data) > most:
            raise ValueError(f"the body has more than {most} bytes")
    return bytes(data)
