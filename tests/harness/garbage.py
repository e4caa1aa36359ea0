"""What the garbage collector finds broken in a package: it is reported in whatever test runs then."""

import sys
import sysconfig

_PACKAGES = sysconfig.get_path("purelib")


def is_of_a_package(unraisable: "sys.UnraisableHookArgs") -> bool:
    """Whether the collector found an async generator of a package half closed.

    OpenAI's clients leave the generators of a cut answer, one within the other, to the collector. CPython 3.11 then
    closes one while it closes another: "async generator already executing". Seen in four generators of httpx.
    """
    code = getattr(unraisable.object, "ag_code", None)
    return isinstance(unraisable.exc_value, ValueError) and code is not None and code.co_filename.startswith(_PACKAGES)
