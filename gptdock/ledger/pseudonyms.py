"""Pure: pseudonyms, which stand for clients and users that were forgotten.

A pseudonym is made by a key (HMAC-SHA256, of which 128 bits are shown), so that nobody without the key can find the id
by trying ids out. The same id always has the same one: sums by client or by user stay.
"""

import hmac
import re
from typing import Literal
from urllib.parse import quote

from gptdock.ledger.book import Receipt, Source

_DIGITS = 32
_PREFIX = "forgotten-"
_PSEUDONYM = re.compile(rf"{_PREFIX}[0-9a-f]{{{_DIGITS}}}")
_OF_USERS: frozenset[Source] = frozenset({"upstream", "counted", "import"})  # others name an operator, or nobody
_IMPORT = "#import#"  # in the key of an imported receipt, before its user; behind the rest of a client, nothing


class Pseudonyms:
    """Pseudonyms by one key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def of(self, kind: Literal["client", "user"], name: str) -> str:
        """That of a client or a user; a pseudonym stays as it is."""
        if is_pseudonym(name):
            return name
        return _PREFIX + hmac.new(self._key, f"{kind}\0{name}".encode(), "sha256").hexdigest()[:_DIGITS]

    def hide_user(self, receipt: Receipt) -> Receipt:
        """The receipt with its user's pseudonym, if it has a user; otherwise the same."""
        if not names_user(receipt):
            return receipt
        hidden = self.of("user", receipt.user)
        start, marked, user = receipt.key.rpartition(_IMPORT)
        key = f"{start}{_IMPORT}{quote(hidden, safe='')}" if marked and receipt.source == "import" and user else ""
        return receipt._replace(user=hidden, key=key or receipt.key)


def is_pseudonym(name: str) -> bool:
    return _PSEUDONYM.fullmatch(name) is not None


def names_user(receipt: Receipt) -> bool:
    """Whether the receipt's `user` is one that a caller named, and not an operator or nobody."""
    is_operators = receipt.source == "import" and receipt.key.endswith(_IMPORT)
    return receipt.source in _OF_USERS and receipt.user != "-" and not is_operators
