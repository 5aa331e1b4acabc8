"""The system's processes as an operator starts them: by their commands, watched by their logs."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from support.pace import paced

BIN = Path(sys.executable).parent
"""Where the workspace's commands are."""


class Died(AssertionError):
    """A process ended, or never said what was waited for; the message has its log."""


class Process:
    """A process of ours, with its log in a file."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._from = output.tell()
            self._process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace")

    def wait_for(self, pattern: str, seconds: float = 30.0) -> re.Match[str]:
        """Wait until its log matches; Died if it ends first or takes too long."""
        until = time.monotonic() + paced(seconds)
        while True:
            ended = not self.alive
            found = re.search(pattern, self.output())
            if found:
                return found
            if ended or time.monotonic() > until:
                how = (
                    f"exited with {self._process.returncode}" if ended else f"{seconds:g} s passed"
                )
                raise Died(f"{self.name}: {how} before {pattern!r}:\n{self.output()[-4000:]}")
            time.sleep(0.02)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        try:
            return self._process.wait(paced(seconds))
        except subprocess.TimeoutExpired:
            raise Died(f"{self.name} does not end:\n{self.output()[-4000:]}") from None

    def send(self, number: signal.Signals) -> None:
        if self.alive:
            self._process.send_signal(number)

    def stop(self, seconds: float = 30.0) -> int:
        """Ask it to end, as a service manager does."""
        self.send(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """End it without a chance to clear anything away."""
        self.send(signal.SIGKILL)
        self._process.wait(paced(10))


class Machine:
    """A router and workers on this machine, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[Process] = []
        self.host = "127.0.0.1"
        """Where the router listens."""
        self.port = 0
        self.link_port = 0

    def start(self, name: str, *command: str) -> Process:
        process = Process(name, command, self.folder / f"{name}.log")
        self.processes.append(process)
        return process

    def router(
        self,
        seed: Path,
        *options: str,
        name: str = "router",
        under: Sequence[str] = (),
        config: Path | None = None,
        binaries: Path = BIN,
    ) -> Process:
        """Start a router, on the ports of the one before it if there was one.

        `under` is a command that runs it: in another network, say, or with other limits; `binaries`
        has its program.
        """
        process = self.start(
            name,
            *under,
            str(binaries / "pipeline-router"),
            str(config or self.folder / "pipeline.yml"),
            *("--seed", str(seed)),
            *("--port", str(self.port), "--link-port", str(self.link_port)),
            *options,
        )
        ports = process.wait_for(r"listening on \S+:(\d+) \(clients\), \S+:(\d+) \(workers\)")
        self.port, self.link_port = int(ports[1]), int(ports[2])
        return process

    @property
    def address(self) -> str:
        return f"tcp://{self.host}:{self.port}"

    def worker(self, name: str, channel: str, *options: str, under: Sequence[str] = ()) -> Process:
        """Start a worker and wait until the router has welcomed it; `under` as for routers."""
        process = self.start(
            name,
            *under,
            *(str(BIN / "pipeline-worker"), "listen", name, f"{self.address}/{channel}"),
            *(str(self.folder / name), *options),
        )
        process.wait_for("serving")
        return process

    def stop(self) -> None:
        """End every process, the last one started first, killing what does not end.

        Asked twice, a worker leaves at once, and clears up; one that is killed does not.
        """
        for process in reversed(self.processes):
            for patience_s in (10, 5):
                with suppress(Died):
                    process.stop(patience_s)
                    break
            else:
                process.kill()


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Give a machine that leaves no process behind."""
    own = Machine(folder)
    try:
        yield own
    finally:
        own.stop()


def descendants() -> set[int]:
    """Return the processes that descend from this one."""
    parents = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {os.getpid()}
        found |= more
