"""What the garbage collector finds broken fails a test, but for the one fault of packages."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.harness.garbage import is_of_a_package


async def _ours() -> AsyncIterator[bytes]:
    yield b""


BUSY = ValueError("async generator already executing")


@pytest.mark.parametrize(
    ("generator", "fault", "is_ignored"),
    [
        (httpx.Response(200).aiter_raw(), BUSY, True),
        (httpx.Response(200).aiter_raw(), RuntimeError("lost"), False),
        (_ours(), BUSY, False),
        (object(), BUSY, False),
    ],
    ids=["a package's, half closed", "a package's, another fault", "ours", "no generator"],
)
def test_only_a_package_s_half_closed_generator_is_ignored(generator: Any, fault: Exception, is_ignored: bool):
    found: Any = SimpleNamespace(object=generator, exc_value=fault)

    assert is_of_a_package(found) == is_ignored
