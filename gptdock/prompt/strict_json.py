"""Pure: reads JSON strictly: what parsers disagree on is refused, so that all read the same request.

Refused are duplicate keys, NaN and Infinity, numbers beyond a float's range, integers of more than 4,300 digits,
nesting that overflows the stack, and anything but UTF-8 (RFC 8259 calls the results of most of these unpredictable).
"""

import json
import math
from typing import Any

from gptdock.errors import InvalidRequest


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises InvalidRequest with the `param` `body`."""
    try:
        value = _decode(body.decode("utf-8"))
    # Too many digits for an int, and bytes that are not UTF-8, are ValueErrors, too.
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body must be strict JSON in UTF-8.", param="body") from error
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", param="body")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("duplicate key")
    return fields


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is beyond a float's range")
    return number


# Made once: json.loads would make a decoder for each body, 7 us instead of 3.
_decode = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant, parse_float=_finite
).decode
