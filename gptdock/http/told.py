"""What a caller is told of an error, and what becomes of the error then.

It is told its JSON, and in `gptdock dev` also the cause, which is only logged elsewhere.
"""

from typing import Any

from aiohttp import web

from gptdock.errors import APIError, LedgerUnavailable
from gptdock.http.app_keys import REQUEST_ID, SERVICES


def told(request: web.Request, error: APIError) -> dict[str, Any]:
    """The body of the answer, in the form of OpenAI's own errors."""
    content = error.to_json(request[REQUEST_ID])
    if request.app[SERVICES].shows_causes and (cause := _cause(error)):
        content["error"]["message"] += f" Cause: {cause}"
    return content


def let_go(error: BaseException) -> None:
    """Forget where an error came from: nobody asks once it is told.

    Its frames have the request, with its body, and some of them have the error, so that all of that would wait for the
    garbage collector.
    """
    chain = [error]
    for each in chain:
        chain += [other for other in (each.__cause__, each.__context__) if other is not None and other not in chain]
        each.__traceback__ = each.__context__ = None


def _cause(error: APIError) -> str:
    if error.cause and error.cause != str(error):
        return error.cause
    if isinstance(error, LedgerUnavailable):
        return error.fault
    cause = error.__cause__ if error.type == "upstream_error" else None
    return f"{type(cause).__name__} {cause}".strip() if cause else ""
