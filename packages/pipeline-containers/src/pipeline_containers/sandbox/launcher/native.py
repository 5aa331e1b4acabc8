"""The launcher of our own, behind the interface of a runtime (`container/runtime.py`).

It is given the same configuration, which is compiled into a plan here. A container that has been
started is written down, so that whoever comes after a dead owner finds it; one that has not ends by
itself when its owner does.
"""

import contextlib
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.container.runtime import Init
from pipeline_containers.sandbox.container.runtimes import Family
from pipeline_containers.sandbox.host.hierarchies import UNIFIED, Hierarchies
from pipeline_containers.sandbox.host.ids import owns_host
from pipeline_containers.sandbox.launcher import started
from pipeline_containers.sandbox.launcher.binary import above_streams
from pipeline_containers.sandbox.launcher.cgroup_steps import CgroupPlace
from pipeline_containers.sandbox.launcher.compiler import HostFacts, compile_plan
from pipeline_containers.sandbox.launcher.device_programs import DevicePrograms
from pipeline_containers.sandbox.launcher.filters import Filters
from pipeline_containers.sandbox.launcher.plan import Report, parse_report
from pipeline_containers.system.files import FileRefused, read_in_root, read_kernel

_CALL_S = 30.0  # no call takes a hundredth of a second; a machine may be busy
_PLAN, _REPORT, _START, _CONSOLE = 3, 4, 5, 6
_PASSWD_BYTES = 1 << 20
_PID = struct.Struct("q")
"""The room at the beginning of a plan's file; the kernel fills in the lower half."""
_NULL = "/dev/null"
_NOTHING: Mapping[str, int] = {}


class WaitingInit(Init):
    """A container's first process, and the pipe by which it is started."""

    def __init__(self, pid: int, start: int) -> None:
        super().__init__(pid)
        self._start = start

    def begin(self) -> None:
        """Let it become the tool; `BrokenPipeError` if it is dead."""
        try:
            os.write(self._start, b"\0")
        finally:
            self._forget_start()

    def close(self) -> None:
        """Forget it; one that was not started ends."""
        self._forget_start()
        super().close()

    def _forget_start(self) -> None:
        if self._start >= 0:
            os.close(self._start)
        self._start = -1


class NativeRuntime:
    """Makes containers by the launcher, each from the configuration that it was told."""

    family = Family("native")

    def __init__(self, launcher: int, state: Path, hierarchies: Hierarchies, parent: str) -> None:
        """Of an open launcher; `parent` is the cgroup that containers' own lie below, if any.

        Raises `SandboxError` where it cannot do what runc does.
        """
        self.filters = Filters()
        self._launcher = f"/proc/self/fd/{launcher}"
        self._state = state
        self._configs: dict[Path, Mapping[str, Any]] = {}
        self._may_set_groups = Path("/proc/self/setgroups").read_text().strip() != "deny"
        self._limits_devices = owns_host(Path("/proc/self/uid_map").read_text())
        self._has_kcore = os.path.exists("/proc/kcore")
        self._cpuset: Path | None = None
        self._usable = _make_parents(hierarchies, parent) if parent else {}
        self._is_unified = set(self._usable) == {UNIFIED}
        self._devices = DevicePrograms()
        if not self._limits_devices and not self._is_unified:
            self._usable.pop(UNIFIED, None)  # nor is it runc's in a namespace of users
        if "cpuset" in self._usable:
            self._cpuset = _fill_cpusets(hierarchies.mounts["cpuset"], parent)

    def describe(self, bundle: Path, config: Mapping[str, Any]) -> None:
        """Take a container's configuration, for `create`."""
        self._configs[bundle] = config

    def create(
        self,
        name: str,
        bundle: Path,
        streams: Sequence[int],
        console: Path | None = None,
        inherited: Mapping[str, int] = _NOTHING,
    ) -> Init:
        """Make a container, as `Runtime.create` does."""
        config = self._configs.pop(bundle)
        facts = HostFacts(
            cgroup=self._cgroup(config["linux"].get("cgroupsPath", "")),
            may_set_groups=self._may_set_groups,
            has_console=console is not None,
            limits=inherited,
            has_kcore=self._has_kcore,
            passwd=_passwd(config),
        )
        compiled = compile_plan(config, facts)
        plan = compiled.encode(self.filters.of(config["linux"]["seccomp"]))
        if compiled.devices:
            path = config["linux"]["cgroupsPath"].strip("/")
            self._devices.attach(compiled.devices, self._usable[UNIFIED] / path)
        start_read, start = os.pipe2(os.O_CLOEXEC)
        given = {_START: start_read}
        try:
            with contextlib.ExitStack() as opened:
                if console is not None:
                    given[_CONSOLE] = opened.enter_context(_connected(console)).fileno()
                pid = self._make(name, plan, {**dict(enumerate(streams)), **given})
            return WaitingInit(pid, start)
        except BaseException:
            os.close(start)  # whatever there is of it ends
            raise
        finally:
            os.close(start_read)

    def start(self, name: str, init: Init, bundle: Path) -> None:
        """Let a created container run."""
        assert isinstance(init, WaitingInit)  # noqa: S101 -- `create` made it
        started.note(self._state, name, init.pid)
        try:
            init.begin()
        except BrokenPipeError as error:
            raise SandboxError(f"{name} died before it was started") from error

    def forget(self, name: str, bundle: Path) -> None:
        """Remove the state of a container that is dead, and whose cgroup is gone."""
        self._configs.pop(bundle, None)
        started.forget(self._state, name)

    def delete(self, name: str, bundle: Path) -> None:
        """Do the same to one of which nothing is known; it dies if it lives."""
        self._configs.pop(bundle, None)
        started.end(self._state, name)

    def _make(self, name: str, plan: bytes, given: Mapping[int, int]) -> int:
        """Have the launcher make a container, from descriptors by its numbers; the first process.

        Where one is below 0, the launcher gets /dev/null.
        """
        with contextlib.ExitStack() as opened:
            content = os.memfd_create("plan", os.MFD_CLOEXEC)
            opened.callback(os.close, content)
            os.write(content, bytes(_PID.size) + plan)
            os.lseek(content, _PID.size, os.SEEK_SET)
            report, report_write = os.pipe2(os.O_CLOEXEC)
            opened.callback(os.close, report)
            try:
                launcher = self._spawn({**given, _PLAN: content, _REPORT: report_write})
            finally:
                os.close(report_write)
            said = parse_report(_read_all(report, launcher).decode(errors="replace"))
            _, status = os.waitpid(launcher, 0)
            (pid,) = _PID.unpack(os.pread(content, _PID.size, 0))
        if status == 0 and pid and not said.step:
            return int(pid)
        _bury(pid)
        raise SandboxError(f"{name} cannot be made: {_why(said, status)}")

    def _spawn(self, given: Mapping[int, int]) -> int:
        """Start the launcher; its process."""
        with contextlib.ExitStack() as opened:
            actions: list[tuple[Any, ...]] = []
            for target, source in given.items():
                if source < 0:  # subprocess.DEVNULL
                    actions.append((os.POSIX_SPAWN_OPEN, target, _NULL, os.O_RDWR, 0))
                    continue
                above = above_streams(source)  # not one that is replaced before its turn
                opened.callback(os.close, above)
                actions.append((os.POSIX_SPAWN_DUP2, above, target))
            return os.posix_spawn(self._launcher, ["launch"], {}, file_actions=actions)

    def _cgroup(self, path: str) -> CgroupPlace | None:
        if not path:
            return None
        if self._is_unified:
            folder = str(self._usable[UNIFIED] / path.strip("/"))
            return CgroupPlace(
                path,
                dict.fromkeys(_CONTROLLERS, folder),
                limits_devices=self._limits_devices,
                is_unified=True,
            )
        below = path.strip("/")
        folders = {key: f"{mount}/{below}" for key, mount in self._usable.items()}
        is_other = {key: key == UNIFIED or key.startswith("name=") for key in folders}
        cpuset = {}
        if self._cpuset is not None:
            cpuset = {file: _text(self._cpuset / file) for file in _CPUSET_FILES}
        return CgroupPlace(
            path,
            {key: folder for key, folder in folders.items() if not is_other[key]},
            tuple(folder for key, folder in folders.items() if is_other[key]),
            cpuset,
            self._limits_devices,
        )


@contextlib.contextmanager
def _connected(console: Path) -> Iterator[socket.socket]:
    """Connect to the socket that a terminal's other end is sent to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        try:
            link.connect(str(console))
        except OSError as error:
            raise SandboxError(f"nobody waits for the terminal at {console}: {error}") from error
        yield link


def _make_parents(hierarchies: Hierarchies, parent: str) -> dict[str, Path]:
    """Make the cgroup that containers' own lie below in each hierarchy: where each is mounted."""
    for mount in hierarchies.mounts.values():
        (mount / parent.strip("/")).mkdir(parents=True, exist_ok=True)
    return dict(hierarchies.mounts)


_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
_CONTROLLERS = ("memory", "pids", "cpu")
"""Those that limits are of."""


def _fill_cpusets(top: Path, parent: str) -> Path:
    """Give each cgroup on the way to `parent` the processors and memory of the one above.

    Of version 1 a new one has none, and takes no process. Returns that of `parent`.
    """
    for name in parent.strip("/").split("/"):
        for file in _CPUSET_FILES:
            if not _text(top / name / file):
                (top / name / file).write_text(_text(top / file))
        top /= name
    return top


def _text(file: Path) -> str:
    return read_kernel(file).strip()


def _passwd(config: Mapping[str, Any]) -> str:
    """Read the image's accounts, if a HOME has to be found there."""
    if any(entry.startswith("HOME=") and entry != "HOME=" for entry in config["process"]["env"]):
        return ""
    try:
        content = read_in_root(Path(config["root"]["path"]), "etc/passwd", _PASSWD_BYTES)
    except (OSError, FileRefused):
        return ""
    return content.decode(errors="replace")


def _read_all(report: int, launcher: int) -> bytes:
    """Read what the launcher says until nobody is left to say more; kill it if that hangs."""
    poller = select.poll()
    poller.register(report, select.POLLIN)
    deadline = time.monotonic() + _CALL_S
    said = b""
    while True:
        if not poller.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
            os.kill(launcher, signal.SIGKILL)  # what it has made dies of that
            deadline = time.monotonic() + _CALL_S
        chunk = os.read(report, 4096)
        if not chunk:
            return said
        said += chunk


def _bury(pid: int) -> None:
    """Reap what there is of a container that was not made, if the launcher has not."""
    if not pid:
        return
    with contextlib.suppress(ChildProcessError):  # it is none of ours: another may have its number
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _why(said: Report, status: int) -> str:
    if said.step:
        return f"{said.step} {said.subject}: {os.strerror(said.error)}"
    code = os.waitstatus_to_exitcode(status)
    return f"the launcher ended with {code}" if code >= 0 else f"signal {-code} ended the launcher"
