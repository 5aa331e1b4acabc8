"""Where a builder's program runs: in a container of its own, no longer than its caller lives.

    HOME/root/      its file system: empty folders that others are bound to, read-only
    HOME/tmp, out/  its disk, as /var/tmp and /out; what is left in the second is taken from it
    HOME/bundle/    the container's configuration
    HOME/runtime/   the runtime's state
    HOME/net        its network namespace

All that happens in a build happens here: the downloads of the builder itself, what it unpacks, the
commands of a Dockerfile in containers of the builder's own making. It sees no file of the host but
its programs, has ids that are nobody's, and a network that leads past the host.

Killed, the program takes all its commands and mounts with it: around the container's runtime there
is a process namespace, whose first process gets SIGKILL when the caller dies.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.building.cell.cgroup import BuildCgroup, open_build_cgroup
from pipeline_containers.building.cell.config import (
    FIRST_BUILD_ID,
    PATH,
    TMP,
    Bind,
    CellPlan,
    cell_config,
)
from pipeline_containers.building.cell.egress import DNS
from pipeline_containers.building.cell.network import open_network
from pipeline_containers.building.watch import UseWatch
from pipeline_containers.errors import (
    BuildCancelled,
    BuildFailed,
    BuildLimitExceeded,
    BuildOutputLimit,
    BuildTimedOut,
    ContainersError,
    ToolMissing,
)
from pipeline_containers.sandbox.container.identities import open_user_namespace
from pipeline_containers.sandbox.container.mounts import give
from pipeline_containers.sandbox.container.runtime import Runtime, last_error, watch_orphans
from pipeline_containers.sandbox.host.cgroup_root import CgroupRoot
from pipeline_containers.sandbox.host.enforcement import host_ceilings
from pipeline_containers.sandbox.host.folders import open_way
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.system import syscalls
from pipeline_containers.system.command import (
    Completed,
    OnLine,
    Stop,
    clean_environment,
    run_command,
)
from pipeline_containers.system.deadline import Deadline
from pipeline_containers.system.scratch import scratch_folder

_ALONE = (
    *("setpriv", "--pdeathsig", "KILL", "--"),
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
)
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # to /usr; or folders, on older hosts
_SETTINGS = (
    *("alternatives", "ca-certificates", "containers", "group", "ld.so.cache", "ld.so.conf"),
    *("ld.so.conf.d", "nsswitch.conf", "passwd", "pki", "ssl"),
)
"""What programs need of /etc: nothing that only root may read."""
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""What the host trusts beside the usual certificate authorities."""
_HARD = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_HOSTS = "127.0.0.1 localhost build\n::1 localhost\n"


@dataclass(frozen=True, slots=True)
class BuildHost:
    """What a host builds with: a runtime, and a cgroup that builds lie below."""

    runtime: Runtime
    cgroup_root: CgroupRoot

    @classmethod
    def of(cls, sandbox: Sandbox) -> "BuildHost":
        """Take that of a sandbox; builds lie beside its jobs."""
        return cls(sandbox.runtime, sandbox.cgroup_root)

    def runtime_in(self, home: Path) -> Runtime:
        """Return the runtime with its state in a build's own folder."""
        return replace(self.runtime, state=home / "runtime")


@dataclass(frozen=True, slots=True)
class Cell:
    """A build's container, made anew for each program that is run in it."""

    home: Path
    host: BuildHost
    cgroup: BuildCgroup
    options: BuildOptions
    binds: list[Bind] = field(default_factory=list)
    written: Callable[[], Iterable[Path]] = tuple
    """Where the build writes beside this cell's own disk."""

    @property
    def out(self) -> Path:
        """Where what is written to /out lies."""
        return self.home / "out"

    def show(self, source: Path, target: str, *, writable: bool = False) -> None:
        """Let a folder be seen; what can be written has to be the build's own."""
        flags = 0 if writable else _HARD
        self.binds.append(Bind(self._attach(source, flags), target, writable))

    def put(self, target: str, text: str, *, executable: bool = False) -> None:
        """Let a text be read or run, as a file of the build's root alone."""
        file = self.home / "files" / target.replace("/", "_")
        file.parent.mkdir(exist_ok=True)
        file.touch(0o600)
        file.write_text(text, newline="")
        file.chmod(0o700 if executable else 0o600)
        os.chown(file, FIRST_BUILD_ID, FIRST_BUILD_ID)
        self.binds.append(Bind(file, target))

    def show_mapped(self, source: Path, target: str) -> None:
        """Let a folder of the host's root be read as one of the build's."""
        flags = _HARD | syscalls.MOUNT_ATTR_RDONLY
        namespace = open_user_namespace(FIRST_BUILD_ID)
        try:
            self.binds.append(Bind(self._attach(source, flags, namespace), target))
        except OSError as error:
            raise ContainersError(
                f"{source} cannot be shown to a build: {error}; it needs Linux 5.19, and a file "
                "system that maps ids (ext4, xfs, btrfs)"
            ) from error
        finally:
            os.close(namespace)

    def _attach(self, source: Path, flags: int, user_namespace: int | None = None) -> Path:
        """Mount a folder once more here, where a build's ids get to, until this cell goes."""
        place = self.home / f"shown-{len(self.binds)}"
        place.mkdir()
        tree = syscalls.open_tree(str(source))
        try:
            if flags:
                syscalls.mount_setattr(tree, flags, user_namespace)
            syscalls.move_mount(tree, str(place))
        finally:
            os.close(tree)
        return place

    def run(
        self,
        arguments: Sequence[str],
        deadline: Deadline,
        *,
        through: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
    ) -> None:
        """Run a builder's program to its end; raises the kinds of `BuildError` unless it is 0.

        `through` is a command of the host's that runs it: a shell that does something before.
        """
        bundle = self.home / "bundle"
        config = cell_config(self._plan(arguments, through, environment or {}))
        bundle.mkdir(exist_ok=True)
        (bundle / "config.json").write_text(json.dumps(config))
        log = self.home / "log.json"
        log.unlink(missing_ok=True)
        disk = (self.home / "tmp", self.out)
        watch = UseWatch(
            lambda: (*disk, *self.written()),
            self.cgroup.out_of_memory,
            self.options,
            deadline.cancelled,
        )
        runtime = self.host.runtime_in(self.home).command(log)
        done = run_command(
            [*_ALONE, *runtime, "run", "--bundle", str(bundle), self.home.name],
            timeout_s=deadline.left_s(),
            output_bytes=self.options.log_bytes,
            tail_bytes=self.options.log_tail_bytes,
            env=clean_environment(self.home),
            on_line=on_line,
            cancelled=watch,
        )
        if (failure := self._failure(done, watch, log)) is not None:
            raise failure

    def _plan(
        self, arguments: Sequence[str], through: Sequence[str], environment: Mapping[str, str]
    ) -> CellPlan:
        program = shutil.which(arguments[0])
        if program is None:
            raise ToolMissing(arguments[0])
        binds = list(self.binds)
        if not program.startswith("/usr/"):  # everything there is seen as it is
            binds.append(Bind(Path(program).resolve(), f"/opt/builder/{arguments[0]}"))
        for bind in binds:
            _make_place(self.home / "root", bind)
        own = {"HOME": TMP, "TMPDIR": TMP, "LANG": "C.UTF-8", "PATH": f"/opt/builder:{PATH}"}
        own |= {name: f"/opt/builder/{name}" for name in _AUTHORITIES if name in os.environ}
        return CellPlan(
            root=self.home / "root",
            network=self.home / "net",
            cgroup=self.cgroup.of_container,
            binds=binds,
            arguments=[*through, *arguments],
            environment={**own, **environment},
            file_bytes=self.options.disk_bytes,
            ceilings=host_ceilings(),
        )

    def _failure(self, done: Completed, watch: UseWatch, log: Path) -> ContainersError | None:
        options = self.options
        if watch.failure is not None:
            return watch.failure
        if done.stop is Stop.CANCELLED:
            return BuildCancelled("the build was cancelled", done.tail)
        if done.stop is Stop.TIMED_OUT:
            return BuildTimedOut(f"the build took longer than {options.timeout_s:.0f} s", done.tail)
        if done.stop is Stop.OUTPUT_LIMIT:
            text = f"the build printed more than {options.log_bytes} bytes"
            return BuildOutputLimit(text, done.tail)
        if done.exit_status == 0:
            return None
        if watch.has_run_out:
            return BuildLimitExceeded(
                f"the build needed more than {options.memory_bytes} bytes of memory: have it need "
                "less, or raise the builders' limit",
                done.tail,
            )
        if log.exists() and '"level":"error"' in log.read_text(errors="replace"):
            return ContainersError(f"a build's container cannot be made: {last_error(log)}")
        return BuildFailed(done.exit_status, done.tail)


@contextmanager
def open_cell(folder: Path, host: BuildHost, options: BuildOptions) -> Iterator[Cell]:
    """Return a cell beneath a folder, gone with all of its traces afterwards.

    Makes this process the subreaper of its descendants.
    """
    watch_orphans()
    folder.mkdir(exist_ok=True)
    open_way(folder)
    with ExitStack() as opened:
        home = opened.enter_context(
            scratch_folder(folder, lambda home: _end_containers(host.runtime_in(home), home))
        )
        home.chmod(0o711)
        cgroup = opened.enter_context(open_build_cgroup(host.cgroup_root, options))
        way_out = options.network == "egress"
        opened.enter_context(open_network(home / "net", way_out, options.allowed_networks))
        cell = Cell(home, host, cgroup, options)
        _furnish(cell, way_out)
        yield cell


def own(folder: Path) -> Path:
    """Make a folder that a build may write, and all that is in it; the folder."""
    folder.mkdir(exist_ok=True)
    give(folder, FIRST_BUILD_ID, FIRST_BUILD_ID)
    return folder


def _furnish(cell: Cell, way_out: bool) -> None:
    """Bind in what every builder's program needs."""
    root = cell.home / "root"
    root.mkdir()
    binds = cell.binds
    binds.append(Bind(Path("/usr"), "/usr"))
    for name in _LINKS:
        there = Path("/") / name
        if there.is_symlink():
            (root / name).symlink_to(os.readlink(there))
        elif there.is_dir():
            binds.append(Bind(there, f"/{name}"))
    for name in ("proc", "dev", "sys", "tmp", "run"):
        (root / name).mkdir()
    for name in _SETTINGS:
        if (Path("/etc") / name).exists():
            binds.append(Bind(Path("/etc") / name, f"/etc/{name}"))
    for name in _AUTHORITIES:
        if name in os.environ:
            binds.append(Bind(Path(os.environ[name]).resolve(), f"/opt/builder/{name}"))
    files = {"hosts": _HOSTS, "resolv.conf": f"nameserver {DNS}\n" if way_out else ""}
    for name, text in files.items():
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc" / name).write_text(text)
    binds.append(Bind(own(cell.home / "tmp"), TMP, writable=True))
    binds.append(Bind(own(cell.home / "out"), "/out", writable=True))


def _make_place(root: Path, bind: Bind) -> None:
    """Make what a file or a folder is bound to."""
    place = root / bind.target.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if bind.source.is_dir():
        place.mkdir(exist_ok=True)
    else:
        place.touch()


def _end_containers(runtime: Runtime, home: Path) -> None:
    """Remove what the runtime still has of a build that is over: state and cgroups.

    The processes are dead, and their ids were those of another namespace: none is killed here.
    """
    for name, _ in runtime.processes():
        runtime.delete(name, home)
