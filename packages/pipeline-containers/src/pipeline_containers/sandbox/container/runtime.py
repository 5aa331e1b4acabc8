"""The container runtime, called: runc, or another that takes its commands.

`create` and `start` are two calls, so that a container can wait, made, for its job, and so that
its cgroup is still there to be read when it is dead. Killing the runtime's client leaves the
container running: it is the container's first process that is waited for and killed, by a pidfd.
This process is the subreaper of its descendants, or it could not wait for that process.

A call costs 6 ms of CPU before it has done anything. Only `create` has to be one: what `start` and
`delete` do is little, and done here where the runtime's state looks as its family is known to keep
it (`runtimes.py`); where it does not, the runtime is called.
"""

import contextlib
import errno
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline_containers.errors import RuntimeMissing, SandboxError
from pipeline_containers.sandbox.container.runtimes import UNKNOWN, Family
from pipeline_containers.system import syscalls

_CALL_S = 30.0  # no call takes a tenth of a second; a machine may be busy
_NOTHING: Mapping[str, int] = {}
_ENVIRONMENT = {"GOGC": "off"}  # it lives for 30 ms: no garbage is worth collecting


class Init:
    """A container's first process: the others die with it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    def kill(self) -> None:
        """Send SIGKILL; one that is dead already does not mind."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def is_dead(self) -> bool:
        """Return whether it has ended, and leave its exit status where it is."""
        return _ready((self.pidfd,), 0)

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


class Launcher(Protocol):
    """What makes containers, and starts them: a runtime, or the launcher of our own.

    Each is told a container's configuration (`describe`), makes it, and starts it; `forget` is for
    one that is dead and whose cgroup is gone, `delete` for one of which nothing is known.
    """

    @property
    def family(self) -> Family:
        """Return what is known of its ways."""
        ...

    def describe(self, bundle: Path, config: Mapping[str, Any]) -> None:
        """Take a container's configuration, by its folder."""

    def create(
        self,
        name: str,
        bundle: Path,
        streams: Sequence[int],
        console: Path | None = None,
        inherited: Mapping[str, int] = _NOTHING,
    ) -> Init:
        """Make it."""
        ...

    def start(self, name: str, init: Init, bundle: Path) -> None:
        """Let it run."""

    def forget(self, name: str, bundle: Path) -> None:
        """Remove the state of a dead one."""

    def delete(self, name: str, bundle: Path) -> None:
        """Remove whatever there is of it."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime's binary and the folder of its state; without a family it is called for all."""

    state: Path
    binary: str = "runc"
    family: Family = UNKNOWN
    has_cgroups: bool = True
    """It is given a cgroup for each container."""

    def describe(self, bundle: Path, config: Mapping[str, Any]) -> None:
        """Write a container's configuration where runtimes look for it."""
        (bundle / "config.json").write_text(json.dumps(config))

    def create(
        self,
        name: str,
        bundle: Path,
        streams: Sequence[int],
        console: Path | None = None,
        inherited: Mapping[str, int] = _NOTHING,
    ) -> Init:
        """Make a container from a bundle; the three descriptors become its standard streams.

        One with a terminal has that in their place; it is sent to the socket `console`. Of the
        runtime it inherits resource limits, by their names.
        """
        pid_file = bundle / "pid"
        arguments = ["create", "--bundle", str(bundle), "--pid-file", str(pid_file)]
        if console is not None:
            arguments += ["--console-socket", str(console)]
        self._call([*arguments, "--", name], bundle / "log.json", streams, inherited)
        try:
            return Init(int(pid_file.read_text()))
        except (OSError, ValueError) as error:
            raise SandboxError(f"{self.binary} created {name} but left no pid: {error}") from error

    def start(self, name: str, init: Init, bundle: Path) -> None:
        """Let a created container run."""
        family = self.family
        fifo = self.state / name / family.fifo
        flags = os.O_WRONLY if family.init_reads_fifo else os.O_RDONLY
        try:
            if not family.fifo:
                raise FileNotFoundError
            descriptor = os.open(fifo, flags | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            self._call(["start", "--", name], bundle / "log.json")
            return
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody reads there
                raise SandboxError(f"{name} died before it was started") from error
            raise
        try:
            if family.init_reads_fifo:
                os.write(descriptor, b"\0")
            elif not _ready((descriptor, init.pidfd), _CALL_S) or not os.read(descriptor, 1):
                raise SandboxError(f"{name} cannot be started: it is dead, or was started before")
        except (BlockingIOError, BrokenPipeError) as error:
            raise SandboxError(f"{name} died before it was started") from error
        finally:
            os.close(descriptor)
        fifo.unlink()  # so the runtime knows it as running

    def forget(self, name: str, bundle: Path) -> None:
        """Remove the state of a container that is dead, and whose cgroup is gone."""
        state = self.state / name
        if self.family.state_file and (state / self.family.state_file).is_file():
            shutil.rmtree(state)
        else:
            self.delete(name, bundle)

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

    def command(self, log: Path) -> list[str]:
        """Begin a command line of the runtime's."""
        own = () if self.has_cgroups else self.family.without_cgroups
        places = ("--root", str(self.state), "--log", str(log), "--log-format", "json")
        return [self.binary, *own, *places]

    def processes(self) -> list[tuple[str, int]]:
        """Give name and first process of the containers that this state knows."""
        if not self.state.is_dir():
            return []
        log = self.state.with_suffix(".log.json")
        try:
            with tempfile.TemporaryFile() as output:
                streams = (subprocess.DEVNULL, output.fileno(), subprocess.DEVNULL)
                self._call(["list", "--format", "json"], log, streams)
                output.seek(0)
                found = json.load(output)
        finally:
            log.unlink(missing_ok=True)
        return [(str(container["id"]), int(container["pid"])) for container in found or []]

    def _call(
        self,
        arguments: Sequence[str],
        log: Path,
        streams: Sequence[int] = (subprocess.DEVNULL,) * 3,
        inherited: Mapping[str, int] = _NOTHING,
    ) -> None:
        """Call the runtime and wait for it; not for its streams, which a container may hold."""
        call = [*_limited(inherited), *self.command(log)]
        stdin, stdout, stderr = streams
        try:
            client = subprocess.Popen(
                [*call, *arguments],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env={"PATH": os.environ.get("PATH", os.defpath), **_ENVIRONMENT},
                process_group=0,
            )
        except FileNotFoundError as error:
            raise RuntimeMissing(self.binary) from error
        if not _ends(client, _CALL_S):
            client.kill()
            client.wait()
            _end_group(client.pid)
            raise SandboxError(f"{self.binary} {arguments[0]} hangs: {last_error(log)}")
        if client.wait() != 0:
            _end_group(client.pid)
            raise SandboxError(f"{self.binary} {arguments[0]} failed: {last_error(log)}")


def _limited(limits: Mapping[str, int]) -> list[str]:
    """Give the command that runs another under resource limits."""
    if not limits:
        return []
    options = (f"--{kind.removeprefix('RLIMIT_').lower()}" for kind in limits)
    values = (f"={value}:{value}" for value in limits.values())
    return ["prlimit", *map("".join, zip(options, values, strict=True)), "--"]


def _ends(client: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Wait for a client; by a pidfd, since `Popen.wait` with a timeout sleeps, up to 50 ms."""
    pidfd = os.pidfd_open(client.pid)
    try:
        return _ready((pidfd,), timeout_s)
    finally:
        os.close(pidfd)


def _end_group(group: int) -> None:
    """End what a client that failed has left of its process group: they are our children now."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def _ready(descriptors: Sequence[int], timeout_s: float) -> bool:
    """Wait until one of them can be read."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def watch_orphans() -> None:
    """Become the subreaper, so that containers' first processes can be waited for."""
    syscalls.become_subreaper()


def last_error(log: Path) -> str:
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
