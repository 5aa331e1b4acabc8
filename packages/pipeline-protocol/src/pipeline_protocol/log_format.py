"""How processes write their logs, as text or JSON, and which request a line is about.

A stranger's words make no line and obey no terminal: of a tool, a registry, a git host, a peer.
"""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from pipeline_protocol.text import clean, one_line

_INDENT = "    "
_MOST_ID = 120
"""Characters of a request's id that a line has."""

REQUEST: ContextVar[str] = ContextVar("request", default="")
"""The id of the request that this thread works on; each of its lines has it."""


class LogFormat(StrEnum):
    """How lines are written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def number(self) -> int:
        """As the library has it."""
        return int(getattr(logging, self.name))


def log_formatter(how: LogFormat, process: str = "") -> logging.Formatter:
    """Make what writes the lines of a process; its name, if there are several of its kind."""
    return JsonFormatter(process) if how is LogFormat.JSON else LogFormatter(process)


def note_request(record: logging.LogRecord) -> bool:
    """Note which request a record is about; a filter for handlers, of the thread that logs."""
    if not hasattr(record, "request"):
        record.request = REQUEST.get()
    return True


class LogFormatter(logging.Formatter):
    """A record is one line; what follows of a traceback is indented, so that it can be no record's.

    The id of a request stands in brackets before the message.
    """

    def __init__(self, process: str = "") -> None:
        super().__init__(" ".join(("%(asctime)s", *process.split(), "%(levelname)s %(message)s")))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Write the record's line."""
        request = _request(record)
        if request:
            record.message = f"[{request}] {record.message}"
        return one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802
        """Write a traceback."""
        return _indented(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """Write a stack."""
        return _indented(super().formatStack(stack_info))


class JsonFormatter(logging.Formatter):
    """A record is a JSON object on a line.

    `time` (UTC), `level` and `message` are always there; `process`, `request` and `traceback` where
    there is one.
    """

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Write the record's line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if self._process:
            line["process"] = self._process
        if request := _request(record):
            line["request"] = request
        line["message"] = one_line(record.getMessage())
        if record.exc_info:
            line["traceback"] = clean(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


def _request(record: logging.LogRecord) -> str:
    request = str(getattr(record, "request", ""))
    return one_line(request if len(request) <= _MOST_ID else f"{request[:_MOST_ID]}...")


def _indented(text: str) -> str:
    return "\n".join(_INDENT + clean(line) for line in text.split("\n"))
