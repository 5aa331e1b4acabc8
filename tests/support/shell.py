"""Somebody at a shell, who uses the command `pipeline`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.pace import paced
from support.processes import BIN

_INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's parent ignores it
from pipeline_client.cli import main
main()
"""


class Watch:
    """A `pipeline watch --json` whose changes are read as they come."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.seen: list[dict[str, Any]] = []

    def until(self, **what: Any) -> dict[str, Any]:
        """Read on to a change that is like that."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.seen.append(json.loads(line))
            if what.items() <= self.seen[-1].items():
                return self.seen[-1]
        raise AssertionError(f"it ended before {what}: {self.seen}")

    def stop(self) -> int:
        """Press Ctrl-C; the exit status."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(30)


class Operator:
    """Has the router's address in the environment."""

    def __init__(self, address: str) -> None:
        self._env = os.environ | {"PIPELINE_ADDRESS": address}

    def call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(BIN / "pipeline"), *arguments],
            capture_output=True,
            text=True,
            timeout=paced(100),
            env=self._env,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        return json.loads(self.call(*arguments, "--json").stdout)

    @contextmanager
    def started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """Start a command that can be interrupted; it does not outlive the context."""
        with subprocess.Popen(
            [sys.executable, "-c", _INTERRUPTIBLE, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._env,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def watching(self, interval_s: float = 0.05) -> Iterator[Watch]:
        with self.started("watch", "--json", "--interval", str(interval_s)) as process:
            yield Watch(process)
