"""How router and worker write their logs: a stranger's words make no line and obey no terminal."""

import logging

from pipeline_protocol.text import clean, one_line

_INDENT = "    "


class LogFormatter(logging.Formatter):
    """A record is one line; what follows of a traceback is indented, so that it can be no record's.

    Messages have strangers' words in them: a tool's, a registry's, a git host's, a peer's.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Write the record's line."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802
        """Write a traceback."""
        return _indented(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """Write a stack."""
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join(_INDENT + clean(line) for line in text.split("\n"))
