"""Translates the upstream's refusals and failures into our errors, and says whether a retry may help."""

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import NamedTuple

import aiohttp

from gptdock.errors import APIError, UpstreamQuota
from gptdock.upstream import answers, bodies, complaints, retry, trace
from gptdock.upstream.answers import Answer
from gptdock.upstream.format import Format

log = logging.getLogger(__name__)

MOST_ERROR_BYTES = answers.MOST_PARSED_BYTES
ERROR_SECONDS = 5.0  # for the body of a refusal


class Refusal(NamedTuple):
    """Why an attempt failed, whether a retry may help, and the seconds that the upstream asked to wait.

    `generated`: the response, and the answer in it: something was generated in spite of the status, so it is charged.
    """

    error: APIError
    again: bool = False
    after: float | None = None
    generated: tuple[aiohttp.ClientResponse, Answer] | None = None


def failed(exc: Exception, error: APIError, *, again: bool) -> Refusal:
    """An attempt that failed without a response, by `exc`; it is logged."""
    log.warning("upstream failed", extra={"fault": type(exc).__name__})
    error.__cause__ = exc
    return Refusal(error, again)


async def refusal(response: aiohttp.ClientResponse, secret: str, form: Format) -> Refusal:
    """What a response with an error's status says; it is logged, and the response closed. `secret` is our key."""
    try:
        async with asyncio.timeout(ERROR_SECONDS):
            content = await _content(response, form)
    except (aiohttp.ClientError, OSError, ValueError, RecursionError):
        content = None
    finally:
        response.close()
    told = complaints.read(content, response.status, secret)
    noted = {"status": response.status, "code": told.code, "field": told.param}
    noted["upstream_request_id"] = trace.request_id(response.headers) or None
    log.warning("upstream refused", extra={key: value for key, value in noted.items() if value is not None})
    after = retry.retry_after(response.headers, datetime.now(UTC))
    ours = complaints.to_error(told, after)
    if ours.status != 400 and not retry.may_help(response.status, response.headers):  # nobody repeats a 400
        ours.should_retry = False
    if answer := answers.in_spite(content, form):
        return Refusal(ours, after=after, generated=(response, answer._replace(fault=ours)))
    again = not isinstance(ours, UpstreamQuota) and retry.is_wanted(response.status, response.headers)
    return Refusal(ours, again, after)


async def _content(response: aiohttp.ClientResponse, form: Format) -> object:
    """The JSON in a body; of one that is too large only what is around a usage, None without one."""
    try:
        return json.loads(await bodies.read(response, MOST_ERROR_BYTES))
    except bodies.TooLarge as exc:
        return answers.usage_in(exc.start, await bodies.read_end(response, exc.start, answers.END_BYTES), form)
