"""What schemathesis needs besides the OpenAPI document: data that JSON Schema cannot describe, and accepted failures.

tests/harness/schemathesis.toml names this file; schemathesis loads it in a process of its own.
"""

import itertools
import re
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import MissingHeaderNotRejected

from gptdock.accounts import MOST_ID_BYTES, Account
from gptdock.http.cursors import to_cursor


def texts(last: str) -> st.SearchStrategy[str]:
    """Ids of characters up to `last`, at most MOST_ID_BYTES long in UTF-8; JSON Schema counts characters, not bytes."""
    letters = st.characters(max_codepoint=ord(last), exclude_categories=["Cc", "Cs"])
    return st.text(letters, min_size=1, max_size=MOST_ID_BYTES).filter(lambda text: len(text.encode()) <= MOST_ID_BYTES)


numbers = itertools.count()

# Mostly below U+0100: schemathesis discards other characters where the id is a header.
ids = st.sampled_from("ÿÿÿÿÿÿÿ\U0010ffff").flatmap(texts)
schemathesis.openapi.format("id", ids)
schemathesis.openapi.format("cursor", st.builds(Account, ids, ids).map(to_cursor))
schemathesis.openapi.format("near_cursor", st.builds(Account, ids, ids).map(lambda each: to_cursor(["80.0", *each])))
schemathesis.openapi.format("receipts_cursor", ids.map(lambda key: to_cursor([key])))


@schemathesis.hook
def map_headers(context: HookContext, headers: dict[str, Any] | None) -> dict[str, Any] | None:
    """Send headers in UTF-8: the HTTP library encodes them in Latin-1, and OpenAPI cannot say otherwise."""
    return headers and {name: value.encode().decode("latin-1") for name, value in headers.items()}


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Send 7.0 as 7: JSON Schema counts both as integers, the contract does not. Send no id of a credit twice."""
    if isinstance(body, dict):
        sent = {name: map_body(context, value) for name, value in body.items()}
        once = sent.get("id")
        if isinstance(once, str) and re.fullmatch("[!-~]{1,128}", once):
            sent["id"] = f"{once[:100]}{next(numbers)}"
        return sent
    if isinstance(body, list):
        return [map_body(context, value) for value in body]
    return int(body) if isinstance(body, float) and body.is_integer() else body


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Accept 403 without a key, where schemathesis requires 401; its check `ignored_auth` sees that none passes."""
    is_about_the_key = isinstance(failure, MissingHeaderNotRejected) and failure.header_name == "Authorization"
    return not (is_about_the_key and response.status_code == 403)


@schemathesis.check
def a_stream_is_whole(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Every stream ends as its route says, because the simulated OpenAI does not break off in this test."""
    if response.headers["content-type"][0].startswith("text/event-stream"):
        *_, last, rest = response.content.split(b"\n\n")
        assert rest == b""
        assert last.startswith((b"data: [DONE]", b"event: response.completed", b"event: response.incomplete"))
