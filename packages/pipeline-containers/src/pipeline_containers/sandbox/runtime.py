"""The container runtime: one adapter, made for runc, whose binary's name is a setting.

`create` and `start` are two calls, so that a container can wait, made, for its job, and so that
its cgroup is still there to be read when it is dead. Killing the runtime's client leaves the
container running: it is the container's first process that is waited for and killed, by a pidfd.
This process is the subreaper of its descendants, or it could not wait for that process.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers import linux
from pipeline_containers.errors import RuntimeMissing, SandboxError

_CALL_S = 30.0  # no call takes a tenth of a second; a machine may be busy


class Init:
    """A container's first process: the others die with it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    def kill(self) -> None:
        """Send SIGKILL; one that is dead already does not mind."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def exit_status(self) -> int | None:
        """Take the exit status (128 + signal if killed) once it is dead; None before."""
        try:
            result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError as error:
            raise SandboxError("the container's process was reaped by somebody else") from error
        if result is None:
            return None
        return result.si_status + (0 if result.si_code == os.CLD_EXITED else 128)

    def close(self) -> None:
        """Forget it."""
        os.close(self.pidfd)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime's binary and the folder of its state."""

    state: Path
    binary: str = "runc"

    def create(self, name: str, bundle: Path, stdout: int, stderr: int) -> Init:
        """Make a container from a bundle; the descriptors become its standard streams."""
        pid_file = bundle / "pid"
        arguments = ["create", "--bundle", str(bundle), "--pid-file", str(pid_file), "--", name]
        self._call(arguments, bundle / "log.json", stdout=stdout, stderr=stderr)
        try:
            return Init(int(pid_file.read_text()))
        except (OSError, ValueError) as error:
            raise SandboxError(f"{self.binary} created {name} but left no pid: {error}") from error

    def start(self, name: str, bundle: Path) -> None:
        """Let a created container run."""
        self._call(["start", "--", name], bundle / "log.json")

    def delete(self, name: str, bundle: Path) -> None:
        """Remove a container's state and cgroup, killing it if it lives; a missing one is fine."""
        self._call(["delete", "--force", "--", name], bundle / "log.json")

    def end(self, name: str, pid: int, bundle: Path) -> None:
        """Remove a container that nobody waits for; `pid` as `processes` gave it."""
        if pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)  # it fell to us, when its parent died
        self.delete(name, bundle)

    def processes(self) -> list[tuple[str, int]]:
        """Give name and first process of the containers that this state knows."""
        if not self.state.is_dir():
            return []
        log = self.state.with_suffix(".log.json")
        try:
            with tempfile.TemporaryFile() as output:
                self._call(["list", "--format", "json"], log, stdout=output.fileno())
                output.seek(0)
                found = json.load(output)
        finally:
            log.unlink(missing_ok=True)
        return [(str(container["id"]), int(container["pid"])) for container in found or []]

    def _call(
        self,
        arguments: Sequence[str],
        log: Path,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> None:
        """Call the runtime and wait for it; not for its streams, which a container may hold."""
        call = [self.binary, "--root", str(self.state), "--log", str(log), "--log-format", "json"]
        try:
            client = subprocess.Popen(
                [*call, *arguments], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
        except FileNotFoundError as error:
            raise RuntimeMissing(self.binary) from error
        if not _ends(client, _CALL_S):
            client.kill()
            client.wait()
            raise SandboxError(f"{self.binary} {arguments[0]} hangs: {_last_error(log)}")
        if client.wait() != 0:
            raise SandboxError(f"{self.binary} {arguments[0]} failed: {_last_error(log)}")


def _ends(client: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Wait for a client; by a pidfd, since `Popen.wait` with a timeout sleeps, up to 50 ms."""
    pidfd = os.pidfd_open(client.pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))
    finally:
        os.close(pidfd)


def watch_orphans() -> None:
    """Become the subreaper, so that containers' first processes can be waited for."""
    linux.become_subreaper()


def _last_error(log: Path) -> str:
    """Take the message from the runtime's log: its exit status says nothing."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "it left no log"
    for line in reversed(lines):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            entry = json.loads(line)
            if entry["level"] in ("error", "fatal"):
                return str(entry["msg"])
    return "its log says nothing"
