"""Pure: names of variables that are nearly those of settings, like MAX_STREAM, PRESHARED_KEY and GPTDOCK_PORT."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches

NEAR = 0.88  # of 1: one wrong character in a short name, two in a long one


def near_misses(given: Collection[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each name of `given` that is not known, with the known name that it is like.

    Names are compared in upper case, and without `GPTDOCK_` in front.
    """
    for name in sorted(set(given) - set(known)):
        plain = name.upper().removeprefix("GPTDOCK_")
        if meant := get_close_matches(plain, known, 1, NEAR):
            yield name, meant[0]
