"""Lines of a log: text or JSON, with the request that they are about, whatever strangers say."""

import json
import logging
import sys
from datetime import UTC, datetime, timedelta

from pipeline_protocol.log_format import (
    REQUEST,
    LogFormat,
    LogLevel,
    log_formatter,
    note_request,
)


def record(message: str, *arguments: object, request: str | None = None) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.WARNING, __file__, 1, message, arguments, None)
    if request is not None:
        made.request = request
    return made


def test_a_text_line_has_its_process_and_its_request() -> None:
    line = log_formatter(LogFormat.TEXT, "worker-1").format(record("%d is odd", 3, request="r-7"))
    assert line.endswith(" worker-1 WARNING [r-7] 3 is odd")


def test_a_json_line_is_an_object_with_what_there_is() -> None:
    line = json.loads(log_formatter(LogFormat.JSON, "worker-1").format(record("so", request="r-7")))
    told = datetime.fromisoformat(line.pop("time"))
    assert abs(datetime.now(UTC) - told) < timedelta(hours=1), "it is UTC"
    expected = {"level": "warning", "process": "worker-1", "request": "r-7", "message": "so"}
    assert line == expected
    assert set(json.loads(log_formatter(LogFormat.JSON).format(record("so")))) == {
        "time",
        "level",
        "message",
    }


def test_a_traceback_is_a_field_of_the_one_line() -> None:
    try:
        raise ValueError("\x1b[2J\nno")
    except ValueError:
        made = record("it broke off")
        made.exc_info = sys.exc_info()
    text = log_formatter(LogFormat.JSON).format(made)
    assert "\n" not in text
    assert "\x1b" not in json.loads(text)["traceback"]
    assert "ValueError" in json.loads(text)["traceback"]


def test_a_strangers_id_makes_no_line_and_is_cut() -> None:
    hostile = "a\n2026-01-01 ERROR made up\x1b[2J" + "x" * 5000
    line = log_formatter(LogFormat.TEXT).format(record("so", request=hostile))
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 300
    assert len(json.loads(log_formatter(LogFormat.JSON).format(record("so", request=hostile)))) == 4


def test_the_request_is_that_of_the_thread_that_logs() -> None:
    token = REQUEST.set("r-8")
    try:
        made = record("so")
        assert note_request(made)
        assert made.request == "r-8"  # type: ignore[attr-defined]
        given = record("so", request="r-9")
        note_request(given)
        assert given.request == "r-9"  # type: ignore[attr-defined]
    finally:
        REQUEST.reset(token)


def test_levels_are_the_librarys() -> None:
    numbers = [level.number for level in LogLevel]
    assert numbers == [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR]
