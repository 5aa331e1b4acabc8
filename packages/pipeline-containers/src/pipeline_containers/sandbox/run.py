"""A sandbox: the folder, mounts, cgroups and containers of one worker, and the runs in them.

FOLDER/lock       held by the one process that owns the folder
FOLDER/jobs/      a folder for each live container: bundle, job folder (a tmpfs)
FOLDER/roots/     images, mounted read-only
FOLDER/runtime/   the container runtime's state
FOLDER/canary/    the layer of the canary's image
"""

import fcntl
import hashlib
import itertools
import os
import resource
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline_containers.command import Cancelled
from pipeline_containers.errors import SandboxError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox import canary, cgroups, mounts
from pipeline_containers.sandbox.account import Clock, account
from pipeline_containers.sandbox.bundle import RLIMITS
from pipeline_containers.sandbox.container import Container, Host, Recipe
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.report import RunReport
from pipeline_containers.sandbox.roots import Roots, check_tool, user_of
from pipeline_containers.sandbox.runtime import Runtime, watch_orphans
from pipeline_containers.sandbox.seccomp import load_filter
from pipeline_containers.sandbox.tools import ToolKind, tool_command


@dataclass(frozen=True, slots=True)
class ToolRun:
    """One run of a tool.

    `fill` puts the input files into the job folder that it is given; afterwards they are the
    tool's. It runs on the host: links are its own affair.
    """

    image: StoredImage
    kind: ToolKind
    slug: str
    fill: Callable[[Path], None]
    limits: Limits = field(default_factory=Limits)
    cancelled: Cancelled = field(default_factory=threading.Event)


class Sandbox:
    """Runs tools in containers; from several threads at once.

    Containers' cgroups lie below `cgroup_parent`, in a cgroup of the sandbox's own. Makes this
    process the subreaper of its descendants. `SandboxError` when a run cannot be set
    up, which says nothing about the tool; `ImageInvalid` when the image is no such tool;
    `RuntimeMissing` when the runtime is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        runtime: str = "runc",
        cgroup_parent: str = "",
        first_host_id: int = mounts.FIRST_HOST_ID,
    ) -> None:
        self.folder = folder.resolve()
        self._names = (f"job-{number}" for number in itertools.count(1))
        self._live: set[str] = set()
        self._lock = threading.Lock()
        self._prepare_folder()
        self._owner = _own(self.folder)
        self._user_namespace = -1
        try:
            watch_orphans()
            hierarchies = cgroups.find_hierarchies()
            key = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
            self._host = Host(
                runtime=Runtime(self.folder / "runtime", runtime),
                hierarchies=hierarchies,
                cgroup_parent=f"{cgroup_parent}/pipeline-{key}",
                first_host_id=first_host_id,
                seccomp=load_filter(),
                swap_is_counted=cgroups.swap_is_counted(hierarchies),
                ceilings=_ceilings(),
            )
            self.sweep()
            cgroups.remove_tree(hierarchies, self._host.cgroup_parent)
            self._user_namespace = mounts.open_user_namespace(first_host_id)
            self._roots = Roots(self.folder / "roots", self._user_namespace)
        except BaseException:
            self._release()
            raise

    def run(self, run: ToolRun) -> RunReport:
        """Run a tool to its end or to a limit, and clear away what it left.

        When something cannot be cleared away, the report says so (`cleanup_problem`): the result
        stands, but the host wants a `sweep`, and a `canary` before the next run.
        """
        clock = Clock()
        container = self._container(run)
        try:
            container.prepare()
            clock.lap("prepare_s")
            container.fill(run.fill)
            clock.lap("fill_s")
            container.create()
            clock.lap("create_s")
            stopped, exit_status = container.execute(run.cancelled)
            clock.lap("run_s")
            report = account(container, run.kind, run.limits, stopped, exit_status, clock)
        except BaseException:
            self._discard(container)
            raise
        problem = self._discard(container)
        clock.lap("discard_s")
        return replace(report, cleanup_problem=problem)

    def forget(self, digest: str) -> None:
        """Unmount an image that is not wanted any more, before its layers are removed."""
        self._roots.forget(digest)

    def canary(self) -> RunReport:
        """Prove the whole road with a tiny tool of our own; `SandboxError` says where it broke."""
        report = self.run(
            ToolRun(
                image=canary.make_image(self.folder / "canary"),
                kind=canary.KIND,
                slug=canary.SLUG,
                fill=canary.fill,
                limits=canary.LIMITS,
            )
        )
        if report.outputs != canary.EXPECTED:
            raise SandboxError(f"the canary did not sing: {report}")
        return report

    def sweep(self) -> None:
        """Clear the containers, mounts, cgroups and folders that no live run of ours owns.

        Done when a sandbox opens, for what a dead owner left; again when a clean-up failed.
        """
        jobs, runtime, host = self.folder / "jobs", self._host.runtime, self._host
        with self._lock:
            processes = dict(runtime.processes())
            names = {job.name for job in jobs.iterdir()} | set(processes)
            for name in names - self._live:
                folder = jobs / name
                folder.mkdir(exist_ok=True)
                runtime.end(name, processes.get(name, 0), folder)
                cgroups.remove_tree(host.hierarchies, f"{host.cgroup_parent}/{name}")
                for place in list(mounts.mounts_below(folder)):
                    mounts.unmount(place)
                shutil.rmtree(folder)

    def close(self) -> None:
        """Unmount everything and let go of the folder; after the last run."""
        self._roots.close()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _container(self, run: ToolRun) -> Container:
        root = self._roots.mount(run.image)
        check_tool(root, run.kind)
        config = run.image.config
        recipe = Recipe(
            root=root,
            command=tool_command(run.kind, config.entrypoint, run.slug),
            cwd=run.kind.folder,
            env=config.env,
            user=user_of(run.image, root),
            limits=run.limits,
        )
        with self._lock:
            name = next(self._names)
            self._live.add(name)
        return Container(self._host, recipe, self.folder / "jobs" / name)

    def _discard(self, container: Container) -> str:
        """Remove a container's traces; what stays is told, and left to the next sweep."""
        try:
            container.discard()
        except SandboxError as error:
            return str(error)
        finally:
            with self._lock:
                self._live.discard(container.name)
        return ""

    def _prepare_folder(self) -> None:
        """Make the folders; a container's ids must get through to its root folder."""
        for name in ("jobs", "roots", "runtime"):
            place = self.folder / name
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o700 if name == "runtime" else 0o711)
        self.folder.chmod(self.folder.stat().st_mode | 0o001)
        for place in self.folder.parents:
            if not place.stat().st_mode & 0o001:
                raise SandboxError(
                    f"containers cannot get through {place}: chmod o+x {place}, "
                    "or choose another working folder"
                )

    def _release(self) -> None:
        if self._user_namespace >= 0:
            os.close(self._user_namespace)
            self._user_namespace = -1
        if hasattr(self, "_host"):
            cgroups.remove_if_empty(self._host.hierarchies, self._host.cgroup_parent)
        os.close(self._owner)


def _ceilings() -> dict[str, int]:
    """Read this process' hard limits: without CAP_SYS_RESOURCE nothing gets beyond them."""
    limits = {name: resource.getrlimit(getattr(resource, name))[1] for name in RLIMITS}
    return {name: value for name, value in limits.items() if value != resource.RLIM_INFINITY}


def _own(folder: Path) -> int:
    """Take the folder's lock; the file says whose it is."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise SandboxError(
            f"{folder} belongs to process {holder}: choose another folder"
        ) from error
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
