"""Who pays for a request of OpenAI's kind: the client and the product that its base URL names, or its headers.

Many tools take nothing but a base URL and a key. For them each of OpenAI's routes has a second path, below BASE. Ids in
a path are percent-encoded UTF-8, read strictly: what is malformed names nobody.
"""

import re
from urllib.parse import unquote_to_bytes

from aiohttp import web

from gptdock import accounts
from gptdock.accounts import Account
from gptdock.errors import InvalidRequest
from gptdock.telemetry import request_line

BASE = "/clients/{client}/{product}"
PATTERN = "/clients/{client:[^/]+}/{product:[^/]+}"  # BASE for the router: without a pattern, ids have no braces
_LIKE = "like /clients/1234/demo/v1"
HEADERS = {
    "X-Client-Id": f"the client who pays, as a base URL {_LIKE} does",
    "X-Product-Id": f"the product whose quota pays, as a base URL {_LIKE} does",
}
_MALFORMED = re.compile("%(?![0-9A-Fa-f]{2})")


def names_payer(request: web.Request) -> bool:
    """Whether the path names an account."""
    return "client" in request.match_info


def payer(request: web.Request) -> Account:
    """The account that is charged; it is noted in the line of the request.

    Raises InvalidRequest: an id is missing, given twice or malformed, or header and path disagree.
    """
    account = _of_path(request) if names_payer(request) else _of_headers(request)
    request_line.current().fields.update(account.named())
    return account


def of_header(request: web.Request, name: str, whom: str) -> str:
    """The id in this header, which names `whom`. Raises InvalidRequest unless there is one."""
    return accounts.identity_given_once(request.headers.getall(name, ()), name, whom, "Header ")


def _of_headers(request: web.Request) -> Account:
    return Account(*(of_header(request, name, whom) for name, whom in HEADERS.items()))


def _of_path(request: web.Request) -> Account:
    _, _, client, product, *_ = request.rel_url.raw_path.split("/")
    account = Account(_id(client, "client"), _id(product, "product"))
    for name, named in zip(HEADERS, account, strict=True):
        if any(value != named for value in request.headers.getall(name, ())):
            raise InvalidRequest(f"Header {name} names another than the path of the base URL.", param=name)
    return account


def _id(segment: str, param: str) -> str:
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        text = ""
    if text in ("", ".", "..") or _MALFORMED.search(segment):  # whoever resolves dots on the way would change the path
        raise InvalidRequest(f"The {param} in the path must be percent-encoded UTF-8, and not dots.", param=param)
    return accounts.identity(text, param)
