"""One container, single use: made, given its job, run to its end, discarded.

The steps are apart so that a container can be made ahead of its job, and discarded after the
answer is out:

    cold   prepare(slug)   fill   create   execute   discard
    warm   prepare()       create         hand(slug, limits)   fill   execute   discard
"""

import contextlib
import enum
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.container import mounts
from pipeline_containers.sandbox.container.bundle import (
    MASKED_FILES,
    Bundle,
    resource_limits,
    runtime_config,
)
from pipeline_containers.sandbox.container.console import ConsoleSocket
from pipeline_containers.sandbox.container.environment import value_of
from pipeline_containers.sandbox.container.identities import Identity
from pipeline_containers.sandbox.container.layers import mount_root
from pipeline_containers.sandbox.container.places import HOME_IN_TMP, WritablePlace
from pipeline_containers.sandbox.container.roots import ImageRoot
from pipeline_containers.sandbox.container.runtime import Init, Launcher
from pipeline_containers.sandbox.container.streams import Stream, StreamWatch
from pipeline_containers.sandbox.container.users import User
from pipeline_containers.sandbox.host import cgroups
from pipeline_containers.sandbox.host.cgroup_view import view_of
from pipeline_containers.sandbox.host.enforcement import Enforcement
from pipeline_containers.sandbox.host.file_locks import FileLockWatch
from pipeline_containers.sandbox.host.hierarchies import Hierarchies
from pipeline_containers.sandbox.host.pinning import Pinning
from pipeline_containers.sandbox.host.processors import Processors
from pipeline_containers.sandbox.host.rights import may_set_limits_of_others
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import DISKS, WRITABLE_ROOT, Ending
from pipeline_containers.sandbox.tools import SHELL, late_command, tool_command
from pipeline_containers.system.command import CancelFlag
from pipeline_containers.system.mountinfo import unmount

_TURN_S = 0.02  # how often `cancelled` is looked at: it has no file descriptor to wait on
_DEATH_S = 10.0  # how long SIGKILL may take

Attach = Callable[[int, int], None]
"""Takes a terminal's other end and a pidfd, and returns when that process has ended."""


@dataclass(frozen=True, slots=True)
class Host:
    """What all containers of a sandbox share."""

    runtime: Launcher
    hierarchies: Hierarchies
    shows_cgroups: bool
    processors: Processors
    cgroup_parent: str
    enforcement: Enforcement
    filters: Mapping[bool, dict[str, Any]]
    """Of system calls, by whether a job's processes may trace each other."""
    swap_is_counted: bool
    sockets_are_apart: bool
    ceilings: Mapping[str, int]
    locks: FileLockWatch
    open_files: int
    """Of all processes of a container together."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one container is made of; `image` is the digest of what is at `root`."""

    image: str
    root: ImageRoot
    program: tuple[str, ...]
    cwd: str
    env: tuple[str, ...]
    user: User
    limits: Limits
    places: tuple[WritablePlace, ...] = ()
    """What of the root can be written to in any case."""


class _State(enum.Enum):
    """What the runtime keeps of a container."""

    NONE = "none"
    UNKNOWN = "unknown"  # it was asked to make one
    DEAD = "dead"


class Container:
    """A container by its name, with a folder of its own on the host."""

    def __init__(self, host: Host, recipe: Recipe, identity: Identity, folder: Path) -> None:
        self.name = folder.name
        self.identity = identity
        self.job_folder = folder / "job"
        self._root, self._devices = folder / "root", folder / "dev"
        self._changes, self._tmp = folder / "changes", folder / "tmp"
        self._view = folder / "cgroup"
        self.cgroup = f"{host.cgroup_parent}/{self.name}" if host.cgroup_parent else ""
        self._host = host
        self._recipe = recipe
        self._folder = folder
        self._uid = identity.ids.outside(recipe.user.uid)
        self._gid = identity.ids.outside(recipe.user.gid)
        self._inherited: Mapping[str, int] = {}
        self._full: dict[str, str] = {}
        self._followed = ""
        self._peaks: cgroups.Peaks | None = None
        self._sockets: cgroups.SocketWatch | None = None
        self._init: Init | None = None
        self._pinning: Pinning | None = None
        self._state, self._has_cgroup = _State.NONE, False
        self._stdin, self._late_slug = subprocess.DEVNULL, -1
        self.stdout = Stream(recipe.limits.stdout_bytes, self._uid, self._gid)
        self.stderr = Stream(recipe.limits.stderr_bytes, self._uid, self._gid)

    def prepare(self, slug: str | None = None) -> None:
        """Mount an empty job folder and write the bundle; without a slug, one for a later job."""
        if slug is None:
            self._stdin = self._open_late_slug()
            self._prepare(late_command(self._recipe.program))
        else:
            self._prepare(tool_command(self._recipe.program, slug))

    def prepare_shell(self) -> None:
        """Mount an empty job folder and write the bundle of a shell on a terminal."""
        self._prepare((SHELL,), has_terminal=True)

    def _prepare(self, command: tuple[str, ...], *, has_terminal: bool = False) -> None:
        self._folder.mkdir(mode=0o711)
        recipe, host, ids = self._recipe, self._host, self.identity.ids
        self._root.mkdir(mode=0o711)
        root = recipe.root
        changes = None
        if recipe.limits.writable_root_bytes:
            changes = self._changes
            changes.mkdir(mode=0o700)
            mounts.mount_changes(changes, recipe.limits, ids.root, ids.root)
        mount_root(root.layers, self._root, self.identity.mapping, changes=changes)
        self.job_folder.mkdir(mode=0o700)
        mounts.mount_job_folder(self.job_folder, recipe.limits, self._uid, self._gid)
        owner = (self._uid, self._gid)
        self._tmp.mkdir(mode=0o711)
        has_home = value_of(recipe.env, "HOME") == HOME_IN_TMP
        tmp = mounts.mount_tmp(self._tmp, recipe.limits, ids.root, owner, has_home=has_home)
        places = [
            (place.path, mounts.mount_place(self._tmp, name, self._root, place, owner))
            for name, place in self._named_places()
        ]
        devices = None
        if ids.is_of_host:
            self._devices.mkdir(mode=0o711)
            devices = mounts.mount_devices(self._devices, ids.root, ids.root)
        bundle = Bundle(
            root=self._root,
            job_folder=self.job_folder,
            tmp=tmp,
            places=places,
            command=command,
            cwd=recipe.cwd,
            env=recipe.env,
            user=recipe.user,
            cgroup=self.cgroup,
            ids=ids,
            seccomp=host.filters[recipe.limits.ptrace],
            swap_is_counted=host.swap_is_counted,
            ceilings=host.ceilings,
            has_terminal=has_terminal,
            enforcement=host.enforcement,
            user_namespace=self.identity.namespace_path,
            devices=devices,
            cgroup_view=self._show_cgroup(),
            masked_files=self._masked_files(devices),
            open_files=host.open_files,
            sets_rlimits=may_set_limits_of_others() or self.identity.namespace is None,
        )
        if not bundle.sets_rlimits:
            self._inherited = resource_limits(recipe.limits, bundle)
        host.runtime.describe(self._folder, runtime_config(bundle, recipe.limits))

    def _show_cgroup(self) -> Path | None:
        """Make the cgroup, which the runtime then uses, and what the container sees of it."""
        view = view_of(self._host.hierarchies, self.cgroup)
        if view is None or not self._host.shows_cgroups:
            return None
        self._has_cgroup = True
        for folder in view.sources():
            folder.mkdir()
        return mounts.mount_cgroup_view(self._view, view)

    def _named_places(self) -> list[tuple[str, WritablePlace]]:
        """Give each place a name in the file system that they are in."""
        return [(f"place-{number}", place) for number, place in enumerate(self._recipe.places)]

    def _masked_files(self, devices: Path | None) -> list[str] | None:
        """List what is to be hidden by a device file of the container's own, if not by the runtime.

        A kernel has not all of them, and what it has not cannot be hidden so.
        """
        if devices is None or not self._host.runtime.family.hides_files_by_the_hosts_null:
            return None
        return [file for file in MASKED_FILES if os.path.exists(file)]

    def fill(self, fill: Callable[[Path], None]) -> None:
        """Let somebody put the input in; then it is the tool's."""
        fill(self.job_folder)
        mounts.give(self.job_folder, self._uid, self._gid)

    def create(self) -> None:
        """Have the runtime make the container; it waits to be started."""
        self._state = _State.UNKNOWN
        if self._stdin == subprocess.DEVNULL and self._devices.exists():
            self._stdin = mounts.open_null(self._devices)
        streams = (self._stdin, self.stdout.write_end, self.stderr.write_end)
        self._init = self._host.runtime.create(
            self.name, self._folder, streams, inherited=self._inherited
        )
        self._stdin = _closed(self._stdin)
        self._bound_sockets()
        self.stdout.hand_over()
        self.stderr.hand_over()

    def _pin(self) -> None:
        """Give it its processors, before anything of it runs."""
        host = self._host
        cpus = self._recipe.limits.cpus
        self._pinning = Pinning(host.processors, host.hierarchies, self.cgroup, cpus)

    def _bound_sockets(self) -> None:
        """Do what the runtimes do no more, before anything runs."""
        if self._host.sockets_are_apart:
            limits = self._recipe.limits
            cgroups.bound_sockets(self._host.hierarchies, self.cgroup, limits)

    def interact(self, attach: Attach) -> int:
        """Create and start one that has a terminal, and see it through; its exit status."""
        console = ConsoleSocket(self._folder / "console")
        try:
            self._state = _State.UNKNOWN
            none = (subprocess.DEVNULL,) * 3
            init = self._init = self._host.runtime.create(
                self.name, self._folder, none, console.path, self._inherited
            )
            terminal = console.receive()
            self._bound_sockets()
        finally:
            console.close()
        try:
            self._pin()
            self._host.runtime.start(self.name, init, self._folder)
            attach(terminal, init.pidfd)
        finally:
            os.close(terminal)
        return self._bury(init)

    @property
    def devices(self) -> Path | None:
        """Its /dev, once it is prepared; None of one that has the host's own device files."""
        folder = self._devices / mounts.DEVICE_FOLDER
        return folder if folder.exists() else None

    @property
    def pid(self) -> int:
        """Its first process, once it is made."""
        return self._created().pid

    def is_waiting(self) -> bool:
        """Return whether it is made and alive."""
        return self._init is not None and not self._init.is_dead()

    def hand(self, slug: str, limits: Limits) -> None:
        """Give it the job that it was made ahead for; of the limits, only some may differ."""
        was = self._recipe.limits
        self._recipe = replace(self._recipe, limits=limits)
        self.stdout.cap_bytes, self.stderr.cap_bytes = limits.stdout_bytes, limits.stderr_bytes
        if limits.job_folder_bytes != was.job_folder_bytes:
            mounts.resize_job_folder(self.job_folder, limits)
        if limits.of_cgroup() != was.of_cgroup():
            cgroups.change_limits(
                self._host.hierarchies, self.cgroup, limits, self._host.enforcement.controllers
            )
        os.write(self._late_slug, f"{slug}\n".encode())  # a pipe has room for a line
        self._late_slug = _closed(self._late_slug)

    def execute(self, cancelled: CancelFlag) -> tuple[Ending | None, int]:
        """Start it and see it through; why the host ended it (None: by itself), exit status."""
        init = self._created()
        deadline = time.monotonic() + self._recipe.limits.wall_s
        self._peaks = cgroups.Peaks(self._host.hierarchies, self.cgroup)
        if self._host.sockets_are_apart:
            limits = self._recipe.limits
            self._sockets = cgroups.SocketWatch(self._host.hierarchies, self.cgroup, limits)
        self._followed = self._host.locks.follow(init.pid)
        self._pin()
        self._host.runtime.start(self.name, init, self._folder)
        watch = StreamWatch((self.stdout, self.stderr), init.pidfd)
        stopped = None
        while not watch.turn(min(_TURN_S, deadline - time.monotonic())):
            self._look()
            if self.stdout.is_over or self.stderr.is_over:
                stopped = Ending.OUTPUT_LIMIT
            elif cancelled.is_set():
                stopped = Ending.CANCELLED
            elif time.monotonic() >= deadline:
                stopped = Ending.TIMED_OUT
            elif self._sockets is not None and self._sockets.is_over():
                stopped = Ending.MEMORY_LIMIT
            elif self._host.locks.is_over(self._followed):
                stopped = Ending.LOCKS_LIMIT
            if stopped is not None:
                break
        self._look_how_full()
        status = self._bury(init)
        for stream in (self.stdout, self.stderr):
            stream.drain()  # what it wrote in its last moment
            if stream.is_over:
                stopped = stopped or Ending.OUTPUT_LIMIT
        return stopped, status

    def counters(self) -> cgroups.CgroupCounters:
        """Read what it used; between its death and its removal."""
        counters = cgroups.read_counters(self._host.hierarchies, self.cgroup)
        return self._peaks.complete(counters) if self._peaks else counters

    def full(self) -> Mapping[str, str]:
        """Return what had run out at the last look: "bytes" or "files", by `DISKS`.

        A file that has no name any more fills it too, and is gone with the process that has it
        open: so it is looked at while that runs. What comes and goes between two looks is not seen.
        """
        self._look_how_full()
        return self._full

    def discard(self) -> None:
        """Remove every trace of it, alive or dead, whole or half made.

        Raises `SandboxError` if one stays.

        Each step is tried, whatever became of the one before.
        """
        problems: list[str] = []
        for step in (self._end, self._remove_cgroup, self._remove_state, self._remove_folder):
            try:
                step()
            except (SandboxError, OSError) as error:
                problems.append(str(error))
        self.stdout.close()
        self.stderr.close()
        self._stdin, self._late_slug = _closed(self._stdin), _closed(self._late_slug)
        if problems:
            raise SandboxError(f"{self.name} was not cleared away: {'; '.join(problems)}")

    def _look(self) -> None:
        """See what is not kept until it is over."""
        self._look_how_full()
        if self._peaks is not None:
            self._peaks.look()
        if self._pinning is not None:
            self._pinning.look()

    def _look_how_full(self) -> None:
        for disk, place in zip(DISKS, (self.job_folder, self._changes), strict=True):
            if disk == WRITABLE_ROOT and not self._recipe.limits.writable_root_bytes:
                continue
            state = os.statvfs(place)
            if state.f_bavail == 0:
                self._full[disk] = "bytes"
            elif state.f_favail == 0:
                self._full[disk] = "files"

    def _created(self) -> Init:
        if self._init is None:
            raise SandboxError(f"{self.name} was not created")
        return self._init

    def _bury(self, init: Init) -> int:
        """Make sure that it is dead, the whole of it, and take its exit status."""
        status = init.exit_status()
        if status is None:
            cgroups.lift_cpu_quota(self._host.hierarchies, self.cgroup)
            init.kill()
            deadline = time.monotonic() + _DEATH_S
            watch = StreamWatch((), init.pidfd)
            while not watch.turn(deadline - time.monotonic()):
                if time.monotonic() > deadline:
                    raise SandboxError(f"{self.name} does not die: pid {init.pid} is stuck")
            status = init.exit_status()
        if self._followed:
            self._host.locks.leave(self._followed)
        self._followed = ""
        if self._pinning is not None:
            self._pinning.close()
        init.close()
        self._init = None
        self._state = _State.DEAD
        return 0 if status is None else status

    def _end(self) -> None:
        if self._init is not None:
            self._bury(self._init)

    def _remove_state(self) -> None:
        if self._state is _State.DEAD and self.cgroup:  # which is gone: the rest is little
            self._host.runtime.forget(self.name, self._folder)
        elif self._state is not _State.NONE:
            self._host.runtime.delete(self.name, self._folder)

    def _remove_cgroup(self) -> None:
        is_there = self._has_cgroup or self._state is not _State.NONE
        if is_there and not cgroups.remove_tree(self._host.hierarchies, self.cgroup):
            raise SandboxError(f"the cgroup {self.cgroup} cannot be removed")

    def _remove_folder(self) -> None:
        bound = [self._tmp / name for name, place in self._named_places() if place.has_content]
        own = (self._view, self._devices, self.job_folder, self._tmp, self._root, self._changes)
        for place in (*bound, *own):
            unmount(place)
            with contextlib.suppress(OSError):  # it was not made, or is not empty
                os.rmdir(place)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder)

    def _open_late_slug(self) -> int:
        """Open the pipe that the slug comes through; the end that is to be read."""
        read_end, self._late_slug = os.pipe2(os.O_CLOEXEC)
        return read_end


def _closed(descriptor: int) -> int:
    """Close a descriptor if it is one; what stands for none."""
    if descriptor >= 0:
        os.close(descriptor)
    return -1
