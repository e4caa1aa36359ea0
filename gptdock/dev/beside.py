"""How `gptdock client`, `usage`, `audit` and `tables` find the DynamoDB of the `gptdock dev` that runs in their folder.

A file there has its address, and is locked while it runs: the file of a process that was killed is not believed.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FILE = Path(".gptdock-dev")
KEYS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}  # any are right
_NAME_ANOTHER = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ACCESS_KEY_ID", "AWS_PROFILE")


@contextmanager
def announced(url: str) -> Iterator[None]:
    """Let commands in this folder find `url` while the context is open, unless another process already does."""
    try:
        file = FILE.open("a", encoding="ascii")  # not "w": it may be another's
    except OSError:  # a folder that cannot be written to
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield
            return
        file.truncate(0)
        file.write(url)
        file.flush()
        try:
            yield
        finally:
            FILE.unlink(missing_ok=True)


def found(environ: Mapping[str, str]) -> str | None:
    """The address of the DynamoDB that runs in this folder; None if there is none, or the settings name another."""
    if any(environ.get(name) for name in _NAME_ANOTHER):
        return None
    try:
        file = FILE.open(encoding="ascii")
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read() or None
    return None
