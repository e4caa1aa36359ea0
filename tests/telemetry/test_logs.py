"""What a log line holds, and what it never does."""

import asyncio
import io
import json
import logging
import re

import pytest
from aiohttp import web

from gptdock.telemetry import logs

log = logging.getLogger("gptdock.test")
pytestmark = pytest.mark.usefixtures("logging_as_it_was")


@pytest.fixture
def stream():
    return io.StringIO()


def logged(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_line_of_json_with_its_fields(stream):
    logs.configure("INFO", "json", stream)

    log.info("completion settled for %s", "you\nand me", extra={"used_tokens": 42, "cut": None})

    [record] = logged(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert record == {
        "level": "INFO",
        "logger": "gptdock.test",
        "message": "completion settled for you\nand me",
        "used_tokens": 42,
        "cut": None,
    }


def test_the_request_id_is_on_every_line_of_its_request_only(stream):
    logs.configure("INFO", "json", stream)

    token = logs.request_id.set("r-1")
    log.info("inside")
    logs.request_id.reset(token)
    log.info("outside")

    inside, outside = logged(stream)
    assert inside["request_id"] == "r-1"
    assert "request_id" not in outside


def test_an_extra_field_cannot_replace_one_of_the_line(stream):
    logs.configure("INFO", "json", stream)

    log.info("said", extra={"time": "never", "level": "none", "logger": "nobody"})

    [record] = logged(stream)
    assert (record["level"], record["logger"]) == ("INFO", "gptdock.test")
    assert record["time"] != "never"


def test_values_that_json_cannot_hold_become_text(stream):
    logs.configure("INFO", "json", stream)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    loop: list[object] = []
    loop.append(loop)

    log.info("odd", extra={"a": {1}, "b": float("nan"), "c": b"x", "d": {(1, 2): 3}, "e": loop, "f": deep})
    log.info("odd", extra={"surrogate": "\ud800"})

    first, second = logged(stream)
    assert [first[name] for name in "abcde"] == ["{1}", "nan", "b'x'", "{(1, 2): 3}", "[[...]]"]
    assert first["f"] == "a list that is too deep"
    assert second["surrogate"] == "\ud800"


def test_the_traceback_of_our_own_error_is_a_field(stream):
    logs.configure("INFO", "json", stream)

    try:
        raise ValueError("of ours")
    except ValueError:
        log.exception("a fault")

    [record] = logged(stream)
    assert record["error"].startswith("Traceback (most recent call last):\n")
    assert record["error"].endswith("ValueError: of ours")


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_server_of_aiohttp_logs_only_its_constant_message(stream, caplog, form):
    logs.configure("DEBUG", form, stream)

    try:
        raise ValueError("Bearer canary")
    except ValueError as error:
        logging.getLogger("aiohttp.server").exception("Error from %s", "canary", exc_info=error, stack_info=True)

    assert "Error from %s" in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert "canary" not in stream.getvalue()
    assert "Traceback" not in stream.getvalue() + caplog.text


async def test_a_request_head_that_aiohttp_cannot_parse_shows_no_key_in_the_log(stream, aiohttp_server):
    logs.configure("DEBUG", "json", stream)
    server = await aiohttp_server(web.Application())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary\x00\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.0 400")
    assert ("aiohttp.server", "ERROR") in [(record["logger"], record["level"]) for record in logged(stream)]
    assert "canary" not in stream.getvalue()


def test_the_level_debug_is_for_gptdock_and_not_for_libraries(stream):
    logs.configure("DEBUG", "json", stream)

    log.debug("ours")
    logging.getLogger("botocore.auth").debug("CanonicalRequest: canary")
    logging.getLogger("botocore.auth").info("theirs")

    assert [record["message"] for record in logged(stream)] == ["ours", "theirs"]


def test_a_high_level_is_for_libraries_too(stream):
    logs.configure("ERROR", "json", stream)

    log.warning("ours")
    logging.getLogger("botocore").warning("theirs")
    log.error("a fault")

    assert [record["message"] for record in logged(stream)] == ["a fault"]


def test_a_second_configuration_replaces_the_first_and_leaves_others(stream):
    before = list(logging.getLogger().handlers)
    logs.configure("INFO", "json", io.StringIO())

    logs.configure("INFO", "json", stream)
    log.info("once")

    assert len(logged(stream)) == 1
    assert logging.getLogger().handlers[:-1] == before


def test_logs_go_to_stderr_by_default(capsys):
    logs.configure("INFO", "json")

    log.info("here")

    assert json.loads(capsys.readouterr().err)["message"] == "here"


def test_the_text_form_is_a_short_line_with_the_traceback_below(stream):
    logs.configure("INFO", "text", stream)

    token = logs.request_id.set("r-1")
    try:
        raise ValueError("of ours")
    except ValueError:
        log.warning("a fault", exc_info=True, extra={"client": "a\nb", "left": 7})
    logs.request_id.reset(token)

    first, *rest = stream.getvalue().splitlines()
    assert re.fullmatch(
        r'\d\d:\d\d:\d\d WARNING gptdock\.test: a fault client="a\\nb" left=7 request_id="r-1"',
        first,
    )
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ValueError: of ours"
