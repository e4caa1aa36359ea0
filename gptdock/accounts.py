"""Pure: accounts, that is a client together with a product, and the ids of bodies, queries and headers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gptdock.errors import InvalidRequest

MOST_ID_BYTES = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # the whole of Unicode's category Cc


class Account(NamedTuple):
    """Whose quota it is: a client's, for one product."""

    client_id: str
    product_id: str

    def named(self) -> dict[str, str]:
        """The fields that name it in logs."""
        return {"client": self.client_id, "product": self.product_id}


def identity(value: object, param: str) -> str:
    """`value` as an id: 1 to 255 bytes of UTF-8 without control characters; an integer becomes its digits.

    Raises InvalidRequest that names `param`.
    """
    # Compared before it becomes a string: Python does not convert more than 4,300 digits.
    if type(value) is int and abs(value) < 10**MOST_ID_BYTES:
        value = str(value)
    if not isinstance(value, str):
        raise InvalidRequest(f"{param} must be a string or an integer.", param=param)
    size = utf8_size(value)
    if size is None or _CONTROL.search(value) or not 1 <= size <= MOST_ID_BYTES:
        given = f"; it has {size}" if size is not None and not 1 <= size <= MOST_ID_BYTES else ""
        wants = f"1 to {MOST_ID_BYTES} bytes of UTF-8 without control characters"
        raise InvalidRequest(f"{param} must be {wants}{given}.", param=param)
    return value


def identity_given_once(values: Sequence[str], param: str, whom: str, kind: str = "") -> str:
    """The only id among `values`, all that a query or the headers have under this name; it names `whom`.

    Two could be two clients, and another reader of the request may see only the last. Raises InvalidRequest that names
    `param` if there is not exactly one, or as `identity` does.
    """
    if not values:
        raise InvalidRequest(f"{kind}{param} is missing: it names {whom}.", param=param)
    if len(values) > 1:
        raise InvalidRequest(f"{kind}{param} must be given once, not {len(values)} times.", param=param)
    return identity(values[0], param)


def user_in(fields: Mapping[str, Any]) -> str | None:
    """The user that a body of OpenAI's names: `user`, otherwise `safety_identifier`; None if both are empty or absent.

    Raises InvalidRequest as `identity` does.
    """
    named = [(name, fields.get(name)) for name in ("user", "safety_identifier")]
    users = [identity(value, name) for name, value in named if value not in (None, "")]
    return users[0] if users else None


def once(value: object, param: str) -> str:
    """`value` as the id of a change that is applied once: 1 to 128 visible ASCII characters.

    Raises InvalidRequest that names `param`.
    """
    if not isinstance(value, str) or not re.fullmatch("[!-~]{1,128}", value):
        raise InvalidRequest(f"{param} must be 1 to 128 visible ASCII characters without spaces.", param=param)
    return value


def utf8_size(text: str) -> int | None:
    """Bytes of `text` in UTF-8; None if it contains an unpaired surrogate."""
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return None
