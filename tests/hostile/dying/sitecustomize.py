"""What Python runs as it starts where this folder is on its path: a worker that dies at a step.

A step is an event of Python's own audit that names the worker's folder or its cgroups: a folder
made, a file opened, a program called, a tree removed. PIPELINE_STEPS has the words that name them;
PIPELINE_DYING names a folder for

    steps    every step, a line each
    kill     put there by the test, with a number: the worker dies at that step from now, of SIGKILL
"""

import os
import signal
import sys
from itertools import count
from typing import Any


class Dying:
    """Counts the steps, and dies when it is time."""

    def __init__(self, folder: str, watched: tuple[str, ...]) -> None:
        self._kill = f"{folder}/kill"
        self._watched = watched
        self._steps = os.open(f"{folder}/steps", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._countdown: count[int] | None = None

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        step = f"{event} {arguments}"
        if not any(word in step for word in self._watched):
            return
        if self._countdown is None and os.path.exists(self._kill):
            with open(self._kill) as file:
                self._countdown = count(int(file.read()), -1)
        os.write(self._steps, f"{step}\n".encode(errors="replace"))
        if self._countdown is not None and next(self._countdown) <= 1:
            os.kill(os.getpid(), signal.SIGKILL)


if "PIPELINE_DYING" in os.environ:
    sys.addaudithook(
        Dying(
            os.environ["PIPELINE_DYING"], tuple(os.environ["PIPELINE_STEPS"].split(os.pathsep))
        ).hear
    )
