"""What the garbage collector finds: objects of ours that should be freed before, and what is broken in a package.

The latter is reported in whatever test runs then.
"""

import gc
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tests.harness.ours import is_our_file, is_our_module

TIMES = 3  # that a test of `garbage` has something done
_PACKAGES = sysconfig.get_path("purelib")


def is_of_a_package(unraisable: "sys.UnraisableHookArgs") -> bool:
    """Whether the collector found an async generator of a package half closed.

    OpenAI's clients leave the generators of a cut answer, one within the other, to the collector. CPython 3.11 then
    closes one while it closes another: "async generator already executing". Seen in four generators of httpx.
    """
    code = getattr(unraisable.object, "ag_code", None)
    return isinstance(unraisable.exc_value, ValueError) and code is not None and code.co_filename.startswith(_PACKAGES)


@contextmanager
def garbage() -> Iterator[Counter[str]]:
    """Counts by their kind the objects of GPTDock that only the garbage collector would have freed within the block.

    Those of every request are told: fewer are what an earlier test left.
    """
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        counts = Counter(_ours(each) for each in gc.garbage)
        found.update({name: count for name, count in counts.items() if name and count >= TIMES})
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _ours(found: object) -> str:
    """The kind of an object of GPTDock, or the name of a function of ours whose frame it is; empty if it is neither."""
    if isinstance(found, FrameType):
        return found.f_code.co_name if is_our_file(found.f_code.co_filename) else ""
    return type(found).__qualname__ if is_our_module(type(found).__module__) else ""
