"""Pure: what an upstream says of a failure, in the body of a refusal or in an event, and which of our errors that is.

    {"error": {"message", "type", "param", "code"}}       OpenAI and most others; `code` may be an HTTP status
    {"type": "error", "error": {"type", "message"}}       Anthropic
    [{"error": {"message", "status", "code"}}]            Google
    {"object": "error", "message", "type", "code"}        vLLM
    {"errors": [{"message", "code"}]}                     Cloudflare
    {"base_resp": {"status_code", "status_msg"}}          MiniMax
    {"code", "message"}                                   DashScope
    {"error": "..."}, {"message": "..."}, {"detail": ...} others

Some upstreams send one with status 200; `find` says whether an answer or an event is one. A refusal that will not
change is the caller's, who wrote the request, if it is not about our key or our credit.
"""

import math
import re
from typing import Any, NamedTuple

from gptdock.errors import (
    APIError,
    ContextLengthExceeded,
    RateLimited,
    Rejected,
    UpstreamError,
    UpstreamQuota,
    UpstreamRefused,
)
from gptdock.upstream.masks import mask

MOST_MESSAGE = 2000  # characters
_LAST_WORD = re.compile(r"(?<![!-~])[!-~]+\Z")
_NO_ERROR: tuple[object, ...] = (None, "", False, 0, [])  # what upstreams put where an error would be
_NO_CODE: tuple[object, ...] = (*_NO_ERROR, {}, "0", 200, "200", "ok", "OK", "success", "SUCCESS", "Success")
_NAME = re.compile(r"[\w.\[\]/+-]{1,100}", re.ASCII)  # anything else might quote the request
_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"})
_OUR_KEY = frozenset({"invalid_api_key", "incorrect_api_key", "invalid_organization", "invalid_project"})
_OUR_KEY |= {"account_deactivated", "mismatched_organization", "mismatched_project", "ip_not_authorized"}
_OUR_KEY |= {"unsupported_country_region_territory", "authentication_error", "permission_error"}
_STATUS_OF = {  # types and codes, in lower case and without `_`
    "invalidrequesterror": 400,
    "invalidrequest": 400,
    "invalidargument": 400,
    "badrequesterror": 400,
    "badrequest": 400,
    "contentfilter": 400,
    "contentpolicyviolation": 400,
    "stringabovemaxlength": 400,
    "notfounderror": 404,
    "notfound": 404,
    "modelnotfound": 404,
    "requesttoolarge": 413,
    "unprocessableentity": 422,
    "unprocessableentityerror": 422,
    "authenticationerror": 401,
    "unauthenticated": 401,
    "permissionerror": 403,
    "permissiondenied": 403,
    "ratelimiterror": 429,
    "ratelimitexceeded": 429,
    "resourceexhausted": 429,
}


class Complaint(NamedTuple):
    """What the upstream says. `status` is HTTP's, 0 if it is not known; `param` and `code` only if they are names."""

    status: int = 0
    message: str = ""
    param: str | None = None
    code: str | None = None
    type: str | None = None


def find(content: dict[str, Any]) -> dict[str, Any] | None:
    """The complaint in a JSON object that came with a good status, as an answer or an event; None if it is none."""
    error = content.get("error")
    if error not in _NO_ERROR and (error != {} or not content.get("choices")):
        return error if isinstance(error, dict) else {"message": str(error)}
    if "error" in (content.get("object"), content.get("type")):
        return content
    if content.get("choices"):
        return None
    if (vendors := _of_vendor(content)) is not None:
        return vendors
    return content if content.get("code") not in _NO_CODE and _message(content) else None


def _of_vendor(content: dict[str, Any]) -> dict[str, Any] | None:
    errors, told = content.get("errors"), content.get("base_resp")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return errors[0]
    if isinstance(told, dict) and told.get("status_code") not in _NO_CODE:
        return {"message": told.get("status_msg"), "code": told["status_code"]}
    return None


def read(content: object, status: int = 0, secret: str = "") -> Complaint:
    """The complaint in a parsed body or event, of any type, with keys masked; `secret` is ours.

    `status` is that of the response, 0 for an event.
    """
    error = _error_in(content)
    complaint = Complaint(
        message=_masked(_message(error), secret),
        param=name(error.get("param"), secret),
        code=name(error.get("code"), secret),
        type=name(error.get("type"), secret) or name(error.get("status"), secret),
    )
    return complaint._replace(status=status or _status(error, complaint))


def hidden(content: dict[str, Any], secret: str) -> dict[str, Any] | None:
    """An answer in which an error stands, or an event with such a `response`, as a caller may see it.

    Keys are masked, and of our key, our credit and our rates nothing is told. None if nothing is to be changed.
    """
    response = content.get("response")
    if isinstance(response, dict):
        shown = hidden(response, secret)
        return None if shown is None else content | {"response": shown}
    error = content.get("error")
    if error in _NO_ERROR or (shown := _shown(error, secret)) == error:
        return None
    return content | {"error": shown}


def _shown(error: object, secret: str) -> dict[str, Any]:
    told = read({"error": error}, secret=secret)
    ours = to_error(told)
    is_ours = isinstance(ours, RateLimited | UpstreamQuota) or told.status in (401, 403, 407) or _is_of_our_key(told)
    code = "rate_limit_exceeded" if isinstance(ours, RateLimited) else "server_error"
    given = error if isinstance(error, dict) else {}
    words = {"code": code if is_ours else told.code, "message": str(ours) if is_ours else told.message}
    names = {each: getattr(told, each) for each in ("type", "param") if each in given and not is_ours}
    return {each: value for each, value in (words | names).items() if each in given or value is not None}


def _is_of_our_key(told: Complaint) -> bool:
    return bool(_OUR_KEY & {told.code, told.type})


def name(value: object, secret: str = "") -> str | None:
    """`value`, if it looks like the name of a field, a code or a type, and not like a key; otherwise None."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) and mask(value, secret) == value else None


def to_error(told: Complaint, after: float | None = None) -> APIError:
    """The complaint as our error. `after` is the seconds that the upstream asked to wait."""
    error = _ours(told, after)
    error.cause = " ".join(word for word in (str(told.status or ""), told.code, told.message) if word)
    return error


def _ours(told: Complaint, after: float | None) -> APIError:
    if told.status == 402 or _CREDIT & {told.code, told.type}:
        return UpstreamQuota()
    if told.status == 429:
        return RateLimited(retry_after=max(1, math.ceil(after or 1)))
    if told.status in (401, 403, 407) or _is_of_our_key(told):
        return _lasting(UpstreamError())
    if not 400 <= told.status < 500 or told.status in (408, 425):
        return UpstreamError()
    too_long = told.code == "context_length_exceeded"
    ours = ContextLengthExceeded() if too_long else UpstreamRefused()
    ours.rejection = Rejected(told.message or str(ours), status=told.status, param=told.param, code=told.code or "")
    return ours if told.status == 409 or too_long else _lasting(ours)


def _lasting(error: APIError) -> APIError:
    error.should_retry = False
    return error


def _error_in(content: object) -> dict[str, Any]:
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, dict):
        return {"message": content}
    error = content.get("error")
    if isinstance(error, dict):
        return error
    return {"message": error} | content if error else _of_vendor(content) or content


def _masked(message: str, secret: str) -> str:
    start = message[: 2 * MOST_MESSAGE]
    if start != message:
        start = _LAST_WORD.sub("", start)  # it may be the half of a key, which nothing would recognise
    return mask(start, secret)[:MOST_MESSAGE]


def _message(error: dict[str, Any]) -> str:
    for told in (error.get("message"), error.get("detail"), error.get("msg")):
        if isinstance(told, list) and told and isinstance(told[0], dict):  # FastAPI's, one for each field
            told = told[0].get("msg")
        if isinstance(told, str) and told.strip():
            return told.strip()
    return ""


def _status(error: dict[str, Any], complaint: Complaint) -> int:
    for number in (error.get("status"), error.get("status_code"), error.get("code")):
        if isinstance(number, str) and re.fullmatch("[45][0-9][0-9]", number):
            number = int(number)
        if type(number) is int and 400 <= number < 600:
            return number
    if complaint.code == "context_length_exceeded":
        return 400
    known = [_STATUS_OF.get((each or "").lower().replace("_", ""), 0) for each in (complaint.code, complaint.type)]
    if not any(known) and (complaint.code or "").startswith(("invalid_", "unsupported_", "missing_", "unknown_")):
        return 400
    return known[0] or known[1]
