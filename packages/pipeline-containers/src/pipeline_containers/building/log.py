"""The log of one build: handed on to whoever waits, its end kept, its steps in our own log too."""

import logging
import threading
from collections import deque

from pipeline_containers.system.command import OnLine

_log = logging.getLogger(__name__)


class BuildLog:
    """Every line that a build and what surrounds it says, of several programs.

    What one program prints, `system/command.py` keeps by itself, as bytes.
    """

    def __init__(self, name: str, tail_bytes: int, on_line: OnLine | None) -> None:
        self._name = name
        self._left = tail_bytes
        self._on_line = on_line
        self._lines: deque[str] = deque()
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        """Take a line of a program's output."""
        if self._on_line is not None:
            self._on_line(text)
        with self._lock:
            self._lines.append(text)
            self._left -= _size(text)
            while self._left < 0 and len(self._lines) > 1:
                self._left += _size(self._lines.popleft())

    def step(self, text: str) -> None:
        """Say what comes next; on the host's log too."""
        _log.info("%s: %s", self._name, text)
        self.line(f"==> {text}")

    @property
    def tail(self) -> str:
        """The end of it."""
        with self._lock:
            return "\n".join(self._lines)


def _size(line: str) -> int:
    return len(line.encode(errors="replace")) + 1
