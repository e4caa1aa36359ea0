"""Logs: one JSON object per line, with the request id.

Logging never fails a request: a value that JSON cannot hold becomes text, and a full disk loses the line. Logs hold no
secrets: libraries log nothing below INFO, where botocore writes whole requests, and aiohttp's server logs no traceback,
because that of a parser fault quotes the request's headers with the key.
"""

import json
import logging
import math
import time
from contextvars import ContextVar
from itertools import islice
from typing import Any, Literal, TextIO

import orjson

from gptdock import moments
from gptdock.telemetry import terminal

request_id: ContextVar[str] = ContextVar("request_id", default="")

_FIELDS_OF_A_RECORD = len(vars(logging.makeLogRecord({})))
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str, form: Literal["json", "text"], stream: TextIO | None = None) -> None:
    """Send all logs of the process to `stream`, by default stderr; a second call replaces the first."""
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(handler)
    handler = _Handler(stream)
    colored = terminal.is_colored(handler.stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(colored=colored))
    root.addHandler(handler)
    root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level]))
    logging.getLogger("gptdock").setLevel(level)
    # "Optimization" in Python's logging HOWTO: where a line was logged, and by which thread and process, is not shown.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # On the logger, not on our handler, so that no other handler sees the details either.
    logging.getLogger("aiohttp.server").addFilter(_without_details)


def write(logger: logging.Logger, level: int, message: str, fields: dict[str, Any]) -> None:
    """What `logger.log` does with these fields: without a record if nobody but our own handler would get it.

    Its way through `logging` would take 4 % of the CPU of a request.
    """
    handler = logger.root.handlers[0] if len(logger.root.handlers) == 1 else None
    if not isinstance(handler, _Handler) or not isinstance(handler.formatter, JsonFormatter) or _is_watched(logger):
        logger.log(level, message, extra=fields)
    elif logger.isEnabledFor(level):
        head = {"level": logging.getLevelName(level), "logger": logger.name, "message": message}
        handler.put(_line(time.time(), head, fields))


def _is_watched(logger: logging.Logger) -> bool:
    """Whether a logger, or one above it but for the root, has more than a level."""
    while parent := logger.parent:
        if logger.handlers or logger.filters or not logger.propagate:
            return True
        logger = parent
    return False


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line: time, level, logger, message, and the error, request id and extra fields if there are any."""
        head = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            head["error"] = self.formatException(record.exc_info)
        return _line(record.created, head, _own(record))


class TextFormatter(logging.Formatter):
    """A record as a short line for a terminal (`terminal`), with a traceback below it."""

    def __init__(self, *, colored: bool = False) -> None:
        super().__init__()
        self._colored = colored

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: _plain(value) for name, value in (_ours() | _own(record)).items()}
        line = terminal.line(record, fields, colored=self._colored)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Handler(logging.StreamHandler[TextIO]):
    def put(self, line: str) -> None:
        """Write a line that is not of a record, or lose it."""
        assert self.lock is not None
        try:
            with self.lock:
                self.stream.write(f"{line}\n")
                self.stream.flush()
        except (OSError, ValueError):  # as `handleError`; a ValueError says that it is closed
            pass

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's own name
        """Lose the line: a full disk must not fail a request."""


_PLAIN = frozenset({str, int, bool, type(None)})  # what JSON has as it is
_encode_any = json.JSONEncoder(separators=(",", ":")).encode


def _encode(shown: dict[str, Any]) -> str:
    """The object in ASCII, whatever reads it; what orjson does not write so, or not at all, takes ten times as long."""
    try:
        return orjson.dumps(shown).decode("ascii")
    except (UnicodeDecodeError, orjson.JSONEncodeError):  # the latter: half a surrogate pair, or more than 64 bits
        return _encode_any(shown)


def _line(created: float, head: dict[str, Any], fields: dict[str, Any]) -> str:
    head = {"time": moments.text(created), **head}
    shown = {**head, **_ours(), **fields}
    for name, value in fields.items():
        if type(value) not in _PLAIN:
            shown[name] = _plain(value)
    shown.update(head)  # which no field replaces
    return _encode(shown)


def _ours() -> dict[str, Any]:
    current = request_id.get()
    return {"request_id": current} if current else {}


def _own(record: logging.LogRecord) -> dict[str, Any]:
    own = islice(vars(record).items(), _FIELDS_OF_A_RECORD, None)  # they come last, as `extra` adds them
    return {name: value for name, value in own if name not in STANDARD_FIELDS}


def _plain(value: Any) -> Any:
    if type(value) is float and math.isfinite(value):
        return value
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)
    except RecursionError:  # str() would raise it again
        return f"a {type(value).__name__} that is too deep"
    return value


def _without_details(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[0]:
        record.fault = record.exc_info[0].__name__
    record.args = None
    record.exc_info = record.exc_text = record.stack_info = None
    return True
