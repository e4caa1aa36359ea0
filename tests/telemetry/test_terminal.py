"""Log lines for a terminal."""

import io
import logging
from collections.abc import Mapping

import pytest

from gptdock.telemetry import terminal

ASKED: dict[str, object] = {"request_id": "r-1", "outcome": "complete", "method": "POST", "route": "/v1/ask"}
ASKED |= {
    "client": "1234",
    "product": "demo",
    "user": "7",
    "model": "gpt-4o-mini",
    "source": "upstream",
    "tokens": 110,
    "status": 200,
}


def shown(fields: Mapping[str, object], message: str = terminal.SUMMARY, *, colored: bool = False) -> str:
    record = logging.makeLogRecord({"msg": message, "created": 35413.0, "levelname": "INFO", "name": "gptdock.x"})
    return terminal.line(record, dict(fields), colored=colored)


def test_a_request_is_one_short_line_with_its_id_last():
    line = shown(ASKED | {"first_event_ms": 301.2, "ms": 2204.5})

    assert line == '09:50:13 200 POST /v1/ask 1234/demo 110 tokens 2.2 s first_event_ms=301.2 request_id="r-1"'


def test_a_request_that_failed_names_its_outcome():
    line = shown(ASKED | {"outcome": "insufficient_quota", "status": 402, "tokens": 0, "ms": 12.3})

    assert line == '09:50:13 402 POST /v1/ask 1234/demo 0 tokens 12 ms insufficient_quota request_id="r-1"'


def test_a_request_whose_caller_left_has_no_status():
    assert shown({"outcome": "caller_left", "method": "POST", "route": "/v1/ask"}) == (
        "09:50:13 --- POST /v1/ask caller_left"
    )


def test_another_record_has_its_level_and_fields():
    assert shown({"request_id": "r-1", "fault": "x"}, "upstream failed") == (
        '09:50:13 INFO    gptdock.x: upstream failed fault="x" request_id="r-1"'
    )


def test_an_id_cannot_move_the_cursor_of_the_terminal():
    assert "\u202e" not in shown(ASKED | {"client": "a\u202eb"})


@pytest.mark.parametrize(
    ("fields", "color"),
    [({}, 32), ({"outcome": "caller_left"}, 33), ({"status": 402, "outcome": "x"}, 33), ({"status": 502}, 31)],
)
def test_the_status_has_the_colour_of_its_outcome(fields: dict[str, object], color: int):
    assert f"\033[{color}m{fields.get('status', 200)}\033[0m POST" in shown(ASKED | fields, colored=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_a_terminal_without_no_color_gets_colours():
    assert terminal.is_colored(Terminal(), {})
    assert not terminal.is_colored(Terminal(), {"NO_COLOR": "1"})
    assert not terminal.is_colored(Terminal(), {"TERM": "dumb"})
    assert not terminal.is_colored(io.StringIO(), {})
