"""What every system is asked to do, and what came of it."""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from compiled import HERE
from msgspec import Struct
from support.processes import Process

IN_FLIGHT = 200
WORKERS = 2
PAYLOAD = b"#" * 200
HOST = "127.0.0.1"


class Outcome(Struct, frozen=True):
    """How many jobs came back, and how long they took."""

    jobs_per_s: float
    p50_ms: float
    p99_ms: float


Measure = Callable[[float], Outcome]
"""Keep `IN_FLIGHT` jobs in flight, for so many seconds."""


class Clock:
    """Tells a client when to stop, and counts only what comes back until then."""

    def __init__(self, seconds: float) -> None:
        self.start = time.perf_counter()
        self.end = self.start + seconds
        self.taken_ms: list[float] = []

    def back(self, asked: float) -> bool:
        """Note a job that came back; False: ask for no more."""
        now = time.perf_counter()
        if now >= self.end:
            return False
        self.taken_ms.append((now - asked) * 1000)
        return True

    def outcome(self) -> Outcome:
        """Return what was noted."""
        taken = sorted(self.taken_ms)
        count = len(taken)
        return Outcome(count / (self.end - self.start), taken[count // 2], taken[count * 99 // 100])


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def await_port(port: int, process: Process, seconds: float = 15) -> None:
    """Wait until somebody listens there; RuntimeError if nobody does."""
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            if time.monotonic() > until or not process.alive:
                raise RuntimeError(f"{process.name}: {process.output()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return


def worker(module: str, name: str, folder: Path, *arguments: str) -> Process:
    """Start a process that runs `work` of a module of this folder."""
    command = [sys.executable, str(HERE / "peers.py"), "--work", module, *arguments]
    return Process(name, command, folder / f"{name}.log")
