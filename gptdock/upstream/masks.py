"""Pure: keys in the words of an upstream, masked: whatever looks like one, and our own whatever it looks like.

Our own is masked whole, in part, and as OpenAI abbreviates it: its first characters, asterisks and its last four.
"""

import re
from functools import lru_cache

_KEY = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|key|api|org|proj|sess|hf|nvapi|AIza)[-_]?[\w*-]{0,40}?[\d*][\w*-]{4,}"  # a known start
    r"|\b(?:sk|pk|rk|gsk|xai|hf|nvapi)[-_][\w*-]{6,}|\bBearer\s+\S+"
    r"|\beyJ[\w-]{8,}(?:\.[\w-]+)*"  # a JSON web token
    r"|(?<![a-z\d])(?=[a-z]*\d)(?=\d*[a-z])[a-z\d]{20,}",  # long, of digits and letters
    re.ASCII | re.IGNORECASE,
)
_LEFT_OUT = r"(?:[*•…·]+|\.{2,})"  # what stands for the middle of a key
_PART = 8  # characters, of which a part of our key is recognised alone
_SHORT_PART = 3  # and beside what is left out


def mask(message: str, secret: str = "") -> str:
    """The message with `***` for `secret`, our key, and for whatever else looks like one."""
    return _KEY.sub("***", _mask_own(message, secret) if secret else message)


def _mask_own(message: str, secret: str) -> str:
    message = _start_of(secret).sub("***", message)
    return _start_of(secret[::-1]).sub("***", message[::-1])[::-1]


@lru_cache(maxsize=4)
def _start_of(secret: str) -> re.Pattern[str]:
    """The start of a key, as much of it as there is; of a short key all of it."""
    if len(secret) <= _PART:
        return re.compile(re.escape(secret), re.IGNORECASE)
    parts = f"{_longest(secret, _SHORT_PART)}{_LEFT_OUT}|{_longest(secret, _PART)}"
    return re.compile(f"{re.escape(secret)}|{parts}", re.IGNORECASE)


def _longest(secret: str, least: int) -> str:
    rest = ""
    for character in reversed(secret[least:]):
        rest = f"(?:{re.escape(character)}{rest})?"
    return re.escape(secret[:least]) + rest
