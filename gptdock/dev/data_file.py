"""The tables of `gptdock dev --data FILE`, as JSON in a file that is replaced as a whole, so that it is never half.

One process at a time has it, by a lock on a file beside it, which the kernel takes back when the process ends. A file
that was not read is never replaced. It is written at the end, and while there are changes five times a second, or as
often as it can be: a process that is killed loses the changes since it was last written.
"""

import fcntl
import json
import logging
import os
from pathlib import Path
from typing import IO, Any

from moto.dynamodb.models import DynamoDBBackend

from gptdock.errors import SettingsError

log = logging.getLogger(__name__)


class DataFile:
    """The file. `fill` reads it once, `keep` replaces it; until `close`, no other process has it."""

    def __init__(self, path: Path) -> None:
        self._path, self._new = path, path.with_name(f".{path.name}.new")
        self._lock: IO[bytes] | None = None
        self._is_read = False

    def fill(self, backend: DynamoDBBackend) -> None:
        """Put the items of the file, if it exists, into the tables of this name. Raises SettingsError."""
        self._take()
        self._read_into(backend)
        self._is_read = True

    def keep(self, backend: DynamoDBBackend) -> None:
        """Replace the file by what the tables hold now. A fault is logged: the old file stays."""
        if not self._is_read:
            return
        tables = {name: _items(table.items) for name, table in backend.tables.items()}
        try:
            self._write(tables)
        except SettingsError as exc:
            log.error("quotas not kept", extra={"fault": str(exc)})

    def close(self) -> None:
        """Let others have the file."""
        if self._lock:
            self._lock.close()

    def _take(self) -> None:
        try:
            self._lock = self._path.with_name(f".{self._path.name}.lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise SettingsError(f"--data: {self._path} is in use by another gptdock dev") from exc
        except OSError as exc:
            raise SettingsError(f"--data: {self._path} cannot be written: {exc.strerror}") from exc

    def _read_into(self, backend: DynamoDBBackend) -> None:
        try:
            content = json.loads(self._path.read_bytes())
            for name, items in content["tables"].items():
                for item in items:
                    backend.tables[name].put_item(item)
        except FileNotFoundError:
            self._write({})  # a folder that cannot be written to is told now
        except OSError as exc:
            raise SettingsError(f"--data: {self._path} cannot be read: {exc.strerror}") from exc
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise SettingsError(f"--data: {self._path} is not a file of these tables that gptdock dev wrote") from exc

    def _write(self, tables: dict[str, Any]) -> None:
        try:
            with self._new.open("w", encoding="utf-8") as file:
                json.dump({"tables": tables}, file, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            self._new.replace(self._path)
        except OSError as exc:
            raise SettingsError(f"--data: {self._path} cannot be written: {exc.strerror}") from exc


def _items(by_key: dict[Any, dict[Any, Any]]) -> list[Any]:
    return [item.to_json()["Attributes"] for by_range in by_key.values() for item in by_range.values()]
