"""Where the next page begins, as text that needs no quoting in a URL and means nothing to its reader."""

import binascii
import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence

from gptdock import accounts
from gptdock.errors import InvalidRequest


def to_cursor(place: Sequence[str]) -> str:
    """The texts that name a place, as a cursor."""
    return urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def from_cursor(cursor: str, size: int) -> list[str]:
    """The `size` texts in a cursor of `to_cursor`, each as an id may be. Raises InvalidRequest."""
    try:
        place = json.loads(b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(place, list) or len(place) != size:
            raise ValueError
    except (ValueError, RecursionError, binascii.Error) as exc:
        raise InvalidRequest("cursor must be the next_cursor of another page.", param="cursor") from exc
    return [accounts.identity(each, "cursor") for each in place]
