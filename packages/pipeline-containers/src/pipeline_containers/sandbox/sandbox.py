"""A sandbox: the folder, mounts, cgroups and containers of one worker, and the runs in them."""

import itertools
import logging
import os
import shutil
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox import self_test, side_by_side
from pipeline_containers.sandbox.account import Clock, account
from pipeline_containers.sandbox.cleaner import Cleaner
from pipeline_containers.sandbox.container import runtimes
from pipeline_containers.sandbox.container.container import Attach, Container, Host, Recipe
from pipeline_containers.sandbox.container.environment import without_leak_check
from pipeline_containers.sandbox.container.identities import (
    Identities,
    open_user_namespace,
)
from pipeline_containers.sandbox.container.layers import LayerIds
from pipeline_containers.sandbox.container.mounts import why_cgroups_stay_hidden
from pipeline_containers.sandbox.container.places import WritablePlace, find_home, with_home
from pipeline_containers.sandbox.container.roots import ImageRoot, Roots, user_of
from pipeline_containers.sandbox.container.runtime import Runtime, watch_orphans
from pipeline_containers.sandbox.container.runtimes import Identified, identify
from pipeline_containers.sandbox.container.seccomp import load_filter
from pipeline_containers.sandbox.container.users import User
from pipeline_containers.sandbox.host import cgroups
from pipeline_containers.sandbox.host.background import Background
from pipeline_containers.sandbox.host.cgroup_root import open_cgroup_root
from pipeline_containers.sandbox.host.cgroup_view import view_of
from pipeline_containers.sandbox.host.enforcement import (
    find_enforcement,
    host_ceilings,
    memory_bytes,
    most_open_files,
    most_processes,
    open_files_of_job,
    processes_of_jobs,
    why_crashes_are_handled,
    why_files_run_out,
)
from pipeline_containers.sandbox.host.file_locks import FileLockWatch
from pipeline_containers.sandbox.host.folders import SandboxFolders
from pipeline_containers.sandbox.host.hierarchies import UNIFIED, find_cgroup_mounts
from pipeline_containers.sandbox.host.id_ranges import FIRST_HOST_ID
from pipeline_containers.sandbox.host.ids import OWN_ONLY, IdMap, find_ids
from pipeline_containers.sandbox.host.options import NATIVE, RUNC
from pipeline_containers.sandbox.host.pinning import usable_processors
from pipeline_containers.sandbox.host.processors import Processors
from pipeline_containers.sandbox.host.yama import lets_jobs_trace
from pipeline_containers.sandbox.launcher.binary import open_launcher
from pipeline_containers.sandbox.launcher.native import NativeRuntime
from pipeline_containers.sandbox.launcher.started import end as end_noted
from pipeline_containers.sandbox.launcher.started import noted
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.program import can_wait_in_shell, check_program
from pipeline_containers.sandbox.result.report import RunReport
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import SHELL, is_line, tool_program
from pipeline_containers.sandbox.warm import WarmPool
from pipeline_containers.system.mountinfo import mounts_below, unmount

_log = logging.getLogger(__name__)
_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")

OnTrouble = Callable[[str], None]
"""Hears, on a thread of the sandbox's own, of what could not be cleared away."""


class Sandbox:
    """Runs tools in containers; from several threads at once, at most `slots` of them.

    Up to `warm` containers are made ahead of their jobs. The containers' cgroups lie below
    `cgroup_parent`, in a cgroup of the sandbox's own. Makes this process the subreaper of its
    descendants. Raises `SandboxError` when a run cannot be set up, which says nothing about the
    tool, `ImageInvalid` when the image is no such tool, `RuntimeMissing` when the runtime is not
    installed. When something cannot be cleared away, `on_trouble` is told: the host wants to be
    proved then (`prove`).

    `launcher` says what makes containers: the runtime ("runc"); the launcher of our own
    ("native"), which is refused where it is not seen to do the same; or "auto", which is the second
    where that can be shown, and else the first, with a note.
    """

    def __init__(
        self,
        folder: Path,
        *,
        slots: int = os.cpu_count() or 1,
        warm: int = 0,
        runtime: str = "runc",
        launcher: str = RUNC,
        cgroup_parent: str = "",
        first_host_id: int = FIRST_HOST_ID,
        allow_unenforced: Collection[str] = (),
        layer_ids: LayerIds | None = None,
        on_trouble: OnTrouble = _log.warning,
    ) -> None:
        ids = self._ids = find_ids(first_host_id)
        self._folders = SandboxFolders(folder, are_strangers=ids != OWN_ONLY)
        self.folder = self._folders.folder
        self._on_trouble = on_trouble
        self._numbers = itertools.count(1)
        self._live: set[str] = set()
        self._lock = threading.Lock()
        self._locks = FileLockWatch()
        self._launcher, self.why_not_native = -1, ""
        try:
            watch_orphans()
            name = f"pipeline-{self._folders.key}"
            root = self.cgroup_root = open_cgroup_root(name, cgroup_parent)
            self.enforcement = find_enforcement(root.missing, ids)
            self.enforcement.require(allow_unenforced)
            if root.cgroup:
                most = processes_of_jobs(most_processes())
                cgroups.bound_processes(root.hierarchies, root.cgroup, most)
            self.background = Background(root.hierarchies, root.cgroup)
            self.is_rootless = not ids.is_of_host
            self._runtime = self._identified(runtime)
            # a user's workers know nothing of others: all would choose the same ones
            usable = usable_processors(root) if ids.is_of_host else []
            self._processors = Processors(usable, slots)
            self._why_cgroups_hidden = why_cgroups_stay_hidden(
                self._folders.folder / "try-cgroups", view_of(root.hierarchies, root.cgroup)
            )
            self._oci = Runtime(
                self._folders.runtime, runtime, self._runtime.family, bool(root.cgroup)
            )
            self._host = Host(
                runtime=self._oci,
                hierarchies=root.hierarchies,
                shows_cgroups=not self._why_cgroups_hidden,
                processors=self._processors,
                cgroup_parent=root.cgroup,
                enforcement=self.enforcement,
                filters={traces: load_filter(ptrace=traces) for traces in (False, True)},
                swap_is_counted=cgroups.swap_is_counted(root.hierarchies, root.cgroup),
                sockets_are_apart=self.enforcement.holds("memory")
                and cgroups.sockets_are_apart(root.hierarchies, root.cgroup),
                ceilings=host_ceilings(),
                locks=self._locks,
                open_files=open_files_of_job(most_open_files(), slots),
            )
            self._can_trace = lets_jobs_trace()
            self.sweep()
            self._remove_old_cgroups()
            self._roots = _open_roots(self._folders.roots, ids, layer_ids)
            self._identities = Identities(
                ids,
                2 * slots + warm + 2,  # running, cleared away, waiting; one more of these each
                maps_layers=self._roots.layer_ids is LayerIds.MAPPED,
            )
            if launcher != RUNC:
                self._take_own_launcher(is_required=launcher == NATIVE)
        except BaseException:
            self._release()
            raise
        self._cleaner = Cleaner(slots, self._discard)
        self._warm = WarmPool(warm, self._make_ahead, self._discard)

    def run(self, run: ToolRun) -> RunReport:
        """Run a tool to its end or to a limit; what it left is cleared away afterwards."""
        clock = Clock()
        recipe = self._recipe(run)
        container = self._made_ahead(recipe, run)
        is_warm = container is not None
        container = container or self._new(recipe)
        try:
            if is_warm:
                container.hand(run.slug, run.limits)
            else:
                container.prepare(run.slug)
            clock.lap("prepare_s")
            container.fill(run.bring)
            clock.lap("fill_s")
            if not is_warm:
                container.create()
            clock.lap("create_s")
            stopped, exit_status = container.execute(run.cancelled)
            clock.lap("run_s")
            report = account(container, run.kind, run.limits, stopped, exit_status, clock)
            missing = tuple(self.enforcement.missing)
            return replace(report, was_made_ahead=is_warm, unenforced=missing)
        finally:
            self._cleaner.take(container)

    def shell(self, run: ToolRun, attach: Attach) -> int:
        """Run a shell where the tool would run, as the tool would; its exit status.

        On a terminal, without limits on time and output; all others hold.
        """
        recipe = self._recipe(run)
        if not can_wait_in_shell(recipe.root.place, recipe.program):
            raise SandboxError(f"the image has no {SHELL}")
        container = self._new(replace(recipe, env=(*recipe.env, "TERM=xterm")))
        try:
            container.prepare_shell()
            container.fill(run.bring)
            return container.interact(attach)
        finally:
            self._cleaner.take(container)

    def forget(self, digest: str) -> None:
        """Unmount an image that is not wanted any more, before its layers are removed."""
        self._warm.forget(digest)
        self._roots.forget(digest)

    def self_test(self) -> RunReport:
        """Run a tiny tool of our own the whole way.

        Raises `SandboxError`, which says where that failed.
        """
        report = self.run(
            ToolRun(
                image=self_test.make_image(self._folders.self_test),
                kind=self_test.KIND,
                slug=self_test.SLUG,
                fill=self_test.fill,
                limits=self_test.LIMITS,
            )
        )
        if report.outputs != self_test.EXPECTED:
            raise SandboxError(f"self-test failed: {report}")
        return report

    @property
    def runtime(self) -> Runtime:
        """Return what makes containers here."""
        return self._oci

    @property
    def launcher(self) -> str:
        """Return what makes containers of jobs: the runtime's name, or "native"."""
        return self._runtime.family.name if self._launcher < 0 else NATIVE

    def facts(self) -> dict[str, str]:
        """Return how this host runs jobs, as it was found out by trying."""
        return {
            "kernel": os.uname().release,
            "runtime": str(self._runtime),
            "launcher": self.launcher,
            "layers": self._roots.layer_ids.value,
            "cgroups": self.cgroup_root.place,
        }

    def notes(self) -> list[str]:
        """Return what holds here, but could be better, and what to do about it."""
        notes = list(self.cgroup_root.notes)
        if self._roots.why_not_mapped:
            notes.append(f"layers are copied to other owners, for {self._roots.why_not_mapped}")
        if self._why_cgroups_hidden:
            notes.append(self._why_cgroups_hidden)
        if self.why_not_native:
            notes.append(f"jobs are started by {self._runtime.family.name}: {self.why_not_native}")
        if not self._roots.can_stack:
            notes.append(
                "HOME and VOLUMEs that an image has files in cannot be written to: the folder "
                "lies on an overlay, and another cannot be made of one of it"
            )
        if why := why_files_run_out(most_open_files(), memory_bytes()):
            notes.append(why)
        if why := why_crashes_are_handled(self._host.ceilings, _CORE_PATTERN.read_text()):
            notes.append(why)
        return notes

    def prove(self) -> None:
        """Clear away what stayed, and run the self-test.

        Raises `SandboxError`, which says what is wrong.
        """
        try:
            self.sweep()
        except OSError as error:
            raise SandboxError(f"what stayed cannot be cleared away: {error}") from error
        self.self_test()

    def settle(self) -> None:
        """Wait until ended runs are cleared away, and what is made ahead is made."""
        self._cleaner.settle()
        self._warm.settle()

    def sweep(self) -> None:
        """Clear the containers, mounts, cgroups and folders that no live run of ours owns.

        Done when a sandbox opens, for what a dead owner left; again when a clean-up failed.
        """
        jobs, runtime, host = self._folders.jobs, self._oci, self._host
        state = self._folders.runtime
        with self._lock:
            processes = dict(runtime.processes())
            names = {job.name for job in jobs.iterdir()} | set(processes) | set(noted(state))
            for name in names - self._live:
                folder = jobs / name
                folder.mkdir(exist_ok=True)
                end_noted(state, name)
                runtime.end(name, processes.get(name, 0), folder)
                if host.cgroup_parent:
                    cgroups.remove_tree(host.hierarchies, f"{host.cgroup_parent}/{name}")
                for place in list(mounts_below(folder)):
                    unmount(place)
                shutil.rmtree(folder)

    def close(self) -> None:
        """Unmount everything and let go of the folder; after the last run."""
        self._warm.close()
        self._cleaner.close()
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

    @staticmethod
    def _identified(binary: str) -> Identified:
        runtime, mounts = identify(binary), find_cgroup_mounts()
        runtimes.check(runtime, has_version_1="memory" in mounts, has_version_2=UNIFIED in mounts)
        return runtime

    def _take_own_launcher(self, *, is_required: bool) -> None:
        """Have the launcher of our own make containers, if it does what the reference does."""
        try:
            self._launcher = open_launcher()
            own = self._proved(self._launcher)
        except (SandboxError, OSError) as error:
            if is_required:
                raise SandboxError(f"the native launcher cannot be used here: {error}") from error
            self.why_not_native = str(error)
            self._launcher = self._closed_launcher()
        else:
            self._host = replace(self._host, runtime=own)

    def _proved(self, launcher: int) -> NativeRuntime:
        """Make it; raises `SandboxError` that names what it does otherwise than runc."""
        if self._runtime.family.name != RUNC:
            raise SandboxError(f"{self._runtime.family.name} is no reference for it, runc is")
        root = self.cgroup_root
        own = NativeRuntime(launcher, self._folders.runtime, root.hierarchies, root.cgroup)
        image = side_by_side.make_image(self._folders.self_test.with_name("side-by-side"))
        identity = self._identities.take()  # one after the other: ids and all are the same

        def make(host: Host, limits: Limits) -> Container:
            job = ToolRun(image, self_test.KIND, self_test.SLUG, lambda _: None, limits)
            name = f"job-{next(self._numbers)}"
            return Container(host, self._recipe(job), identity, self._folders.jobs / name)

        try:
            side_by_side.prove(self._host, own, make)
        finally:
            self._roots.forget(image.digest)
        self._identities.give_back(identity)
        return own

    def _closed_launcher(self) -> int:
        if self._launcher >= 0:
            os.close(self._launcher)
        return -1

    def _remove_old_cgroups(self) -> None:
        """Remove those of a dead owner, which may have been started in other ones."""
        own = self.cgroup_root.folders()
        below = [child for folder in own for child in folder.glob("*/")]
        elsewhere = [place for place in self._folders.noted_cgroups() if place not in own]
        cgroups.remove_folders([*below, *elsewhere])
        self._folders.note_cgroups([*own, *self.background.folders()])

    def _recipe(self, run: ToolRun) -> Recipe:
        root = self._roots.mount(run.image)
        config = run.image.config
        program = tool_program(run.kind, config)
        check_program(root.place, run.kind, program)
        user = user_of(run.image, root.place)
        for number in (user.uid, user.gid):
            self._ids.outside(number)  # it has to have them
        can_trace = run.limits.ptrace and self._can_trace
        env = config.env if can_trace else without_leak_check(config.env)
        home, places = self._places(root, user, run)
        return Recipe(
            image=run.image.digest,
            root=root,
            program=program,
            cwd=run.kind.folder,
            env=(*env, f"HOME={home}"),
            user=user,
            limits=run.limits,
            places=places,
        )

    def _places(
        self, root: ImageRoot, user: User, run: ToolRun
    ) -> tuple[str, tuple[WritablePlace, ...]]:
        """Find out where HOME is, and what of the root can be written to in any case."""
        is_given = self._roots.layer_ids is LayerIds.OWNED
        owner = (user.uid, user.gid)
        home = find_home(
            root.place,
            run.image.config.env,
            user,
            (self._ids.outside(user.uid), self._ids.outside(user.gid)) if is_given else owner,
            root.volumes,
            is_root_writable=bool(run.limits.writable_root_bytes),
            passes_over_modes=run.limits.root_capabilities and user.uid == 0,
        )
        places = with_home(root.volumes, home)
        if not self._roots.can_stack:
            places = tuple(place for place in places if not place.has_content)
        return home.path, places

    def _new(self, recipe: Recipe) -> Container:
        identity = self._identities.take()
        with self._lock:
            name = f"job-{next(self._numbers)}"
            self._live.add(name)
        return Container(self._host, recipe, identity, self._folders.jobs / name)

    def _made_ahead(self, recipe: Recipe, run: ToolRun) -> Container | None:
        """Take a container that waits for such a job, if there is one."""
        can_wait = is_line(run.slug) and can_wait_in_shell(recipe.root.place, recipe.program)
        if run.is_trial or not can_wait:
            return None
        container = self._warm.take(recipe)
        if container is not None and not container.is_waiting():
            self._cleaner.take(container)  # something killed it as it waited
            return None
        return container

    def _make_ahead(self, recipe: Recipe) -> Container:
        container = self._new(recipe)
        try:
            container.prepare()
            container.create()
        except BaseException:
            self._discard(container)
            raise
        return container

    def _discard(self, container: Container) -> None:
        """Remove a container's traces; what stays is told, and left to the next sweep."""
        problem = ""
        try:
            container.discard()
        except Exception as error:
            problem = str(error) or repr(error)
        with self._lock:
            self._live.discard(container.name)
        if problem:
            self._on_trouble(problem)
        else:
            self._identities.give_back(container.identity)

    def _release(self) -> None:
        self._launcher = self._closed_launcher()
        self._locks.close()
        if hasattr(self, "_processors"):
            self._processors.close()
        if hasattr(self, "_identities"):
            self._identities.close()
        if hasattr(self, "cgroup_root"):
            root = self.cgroup_root
            if root.cgroup:
                cgroups.remove_if_empty(root.hierarchies, root.cgroup)
            Background(root.hierarchies, root.cgroup).remove()
        self._folders.release()


def _open_roots(folder: Path, ids: IdMap, layer_ids: LayerIds | None) -> Roots:
    namespace = open_user_namespace(ids.root) if ids.is_of_host else None
    try:
        return Roots(folder, ids, namespace, layer_ids)
    finally:
        if namespace is not None:
            os.close(namespace)
