"""Pure: what ties a request to others' records of it: the trace of the caller, the upstream's own id."""

import re
from collections.abc import Mapping, Sequence

# https://www.w3.org/TR/trace-context/#traceparent-header. Later versions may say more, of which a little is passed.
_TRACE = "(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(f"00-{_TRACE}|(?!00|ff)[0-9a-f]{{2}}-{_TRACE}(-[!-~]{{0,64}})?")
_ID = re.compile("[!-~]{1,128}")


def traceparent(values: Sequence[str]) -> str:
    """The trace that these headers name; empty unless there is one, and it has the form that W3C says."""
    return values[0] if len(values) == 1 and _TRACEPARENT.fullmatch(values[0]) else ""


def request_id(headers: Mapping[str, str]) -> str:
    """What the upstream calls the request that it answers, as its support asks for; empty if it does not say so."""
    given = headers.get("x-request-id", "")
    return given if _ID.fullmatch(given) else ""
