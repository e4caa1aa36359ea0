"""The text form of logs, for a terminal: one short line a record, which begins with what one looks for."""

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

SUMMARY = "request ended"  # the one line of each request

_GREEN, _YELLOW, _RED, _PLAIN = "\033[32m", "\033[33m", "\033[31m", "\033[0m"


def is_colored(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to write colours to this stream: to a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def line(record: logging.LogRecord, fields: dict[str, Any], *, colored: bool) -> str:
    """The record: a request as `09:50:13 200 POST /v1/ask 1234/demo 110 tokens 2.2 s`, others with level and logger.

    The other fields follow as name=value, the request id last.
    """
    fields = dict(fields)
    last = {"request_id": fields.pop("request_id")} if "request_id" in fields else {}
    head = _request(fields, colored=colored) if record.getMessage() == SUMMARY else _other(record)
    rest = "".join(f" {name}={json.dumps(value)}" for name, value in (fields | last).items())
    return f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S} {head}{rest}"


def _other(record: logging.LogRecord) -> str:
    return f"{record.levelname:<7} {record.name}: {record.getMessage()}"


def _request(fields: dict[str, Any], *, colored: bool) -> str:
    """Takes out of `fields` what it shows."""
    status, outcome = fields.pop("status", None), fields.pop("outcome", "")
    shown = [str(status or "---"), str(fields.pop("method", "-")), str(fields.pop("route", "-"))]
    if colored:
        shown[0] = f"{_color(status, outcome)}{shown[0]}{_PLAIN}"
    if "client" in fields:
        shown.append(_plain(f"{fields.pop('client')}/{fields.pop('product', '')}"))
    if "tokens" in fields:
        shown.append(f"{fields.pop('tokens')} tokens")
    if "ms" in fields:
        shown.append(_duration(fields.pop("ms")))
    if outcome != "complete":
        shown.append(str(outcome))
    for name in ("user", "model", "source"):  # of every answer: noise here
        fields.pop(name, None)
    return " ".join(shown)


def _color(status: object, outcome: str) -> str:
    if not isinstance(status, int) or status >= 500:
        return _RED
    return _GREEN if status < 400 and outcome == "complete" else _YELLOW


def _duration(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def _plain(text: str) -> str:
    """Without what would move a terminal's cursor."""
    return text if text.isprintable() else json.dumps(text)
