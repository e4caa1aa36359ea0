"""How a line is written: to the byte, and past `logging` if only we read it."""

import io
import json
import logging
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from http import HTTPMethod
from logging.handlers import BufferingHandler
from uuid import UUID

import pytest

from gptdock.telemetry import logs

log = logging.getLogger("gptdock.test")
pytestmark = pytest.mark.usefixtures("logging_as_it_was")


class Kind(Enum):
    OF_THING = "thing"


class FullDisk(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


@contextmanager
def only_ours(stream, form="json"):
    """Logs are configured, and pytest's own handlers are gone, which it adds for each test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.root, "handlers", [])
        logs.configure("INFO", form, stream)
        yield


@pytest.fixture
def stream():
    return io.StringIO()


def test_a_line_that_only_we_read_is_as_a_record_of_it(stream, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.5)
    fields = {"tokens": 42, "time": "never", "odd": "\ud800", "nan": float("nan"), "é": b"x"}
    token = logs.request_id.set("r-1")

    with only_ours(stream):
        log.info("ended", extra=fields)
        logs.write(log, logging.INFO, "ended", fields)
        logs.write(log, logging.DEBUG, "not shown", fields)

    logs.request_id.reset(token)
    by_record, straight = stream.getvalue().splitlines()
    assert by_record == straight


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ({"ms": 0.3, "status": 200, "told": True, "left": None}, '"ms":0.3,"status":200,"told":true,"left":null'),
        ({"ms": float("nan"), "a": float("inf"), "b": [float("nan")]}, '"ms":"nan","a":"inf","b":"[nan]"'),
        ({"big": 2**64, "ms": 1e-7}, '"big":18446744073709551616,"ms":1e-07'),
        ({"user": "é\u2028"}, '"user":"\\u00e9\\u2028"'),
        ({"é": "\ud800"}, '"\\u00e9":"\\ud800"'),
        ({"method": HTTPMethod.GET, "level": Kind.OF_THING}, '"method":"GET"'),
        ({"kind": Kind.OF_THING, "id": UUID(int=1)}, f'"kind":"Kind.OF_THING","id":"{UUID(int=1)}"'),
        ({"at": datetime(2026, 1, 2, tzinfo=UTC), "many": (1, "a")}, '"at":"2026-01-02 00:00:00+00:00","many":[1,"a"]'),
        ({"by_number": {1: 2}}, '"by_number":{"1":2}'),
        ({"message": {1}, "time": b"x", "logger": 2**64, "tokens": 4}, '"tokens":4'),
    ],
)
def test_a_line_is_written_to_the_byte_like_this(stream, monkeypatch, fields, written):
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.5)
    head = '"time":"2001-09-09T01:46:40.500Z","level":"INFO","logger":"gptdock.test","message":"ended"'

    with only_ours(stream):
        logs.write(log, logging.INFO, "ended", fields)

    assert stream.getvalue() == f"{{{head},{written}}}\n"


def test_a_field_of_the_line_s_own_stands_where_the_request_s_id_would(stream):
    token = logs.request_id.set("r-1")

    with only_ours(stream):
        logs.write(log, logging.INFO, "ended", {"tokens": 4, "request_id": "r-2"})

    logs.request_id.reset(token)
    assert stream.getvalue().endswith('"message":"ended","request_id":"r-2","tokens":4}\n')


@pytest.mark.parametrize("watched", [log, logging.getLogger("gptdock"), logging.root])
def test_a_line_that_others_read_is_a_record(stream, watched, monkeypatch):
    other = BufferingHandler(10)

    with only_ours(stream):
        monkeypatch.setattr(watched, "handlers", [*watched.handlers, other])
        logs.write(log, logging.INFO, "ended", {"tokens": 42})
        monkeypatch.undo()

    assert [(record.getMessage(), vars(record)["tokens"]) for record in other.buffer] == [("ended", 42)]
    assert json.loads(stream.getvalue())["tokens"] == 42


def test_a_line_in_the_text_form_is_a_record(stream):
    with only_ours(stream, "text"):
        logs.write(log, logging.INFO, "ended", {"tokens": 42})

    assert stream.getvalue().endswith("gptdock.test: ended tokens=42\n")


def test_a_line_that_a_full_disk_loses_raises_nothing(capsys):
    with only_ours(FullDisk()):
        logs.write(log, logging.INFO, "lost", {})

    assert capsys.readouterr() == ("", "")


def test_a_full_disk_raises_nothing(capsys):
    logs.configure("INFO", "json", FullDisk())

    log.info("lost")

    assert capsys.readouterr() == ("", "")
