"""The router's log, written by a thread of its own: a full pipe holds up no job."""

import logging
import sys
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue

from pipeline_protocol.log_format import LogFormat, LogLevel, log_formatter

_WRITTEN = ("pipeline_router", "pipeline_protocol.monitor")


class _Unformatted(QueueHandler):
    """Hands records on as they are: formatting is the other thread's."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


def start_log(how: LogFormat, level: LogLevel) -> QueueListener:
    """Have the log written to standard error, until what is returned is stopped."""
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(log_formatter(how))
    listener = QueueListener(queue, writer)
    listener.start()
    for name in _WRITTEN:
        log = logging.getLogger(name)
        log.handlers = [_Unformatted(queue)]
        log.setLevel(level.number)
        log.propagate = False
    return listener
