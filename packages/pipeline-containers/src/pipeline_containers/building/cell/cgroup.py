"""A cgroup that holds what a build runs to its limits, which lie above where anything of it runs.

BELOW/build-KEY/         memory and processes are limited here
BELOW/build-KEY/inside   the container; the top of all that it sees
BELOW/build-KEY/source   git, which has no container
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.errors import ContainersError
from pipeline_containers.sandbox.host import cgroups
from pipeline_containers.sandbox.host.cgroup_root import CgroupRoot
from pipeline_containers.sandbox.limits import Limits

_ENTER = 'for file in $1; do echo $$ >"$file" || exit 125; done; shift; exec "$@"'
_CONTROLLERS = {"memory": "memory", "pids": "pids"}


@dataclass(frozen=True, slots=True)
class BuildCgroup:
    """The cgroup of one build; an empty path where this host has none to give."""

    root: CgroupRoot
    path: str

    @property
    def of_container(self) -> str:
        """Where the container belongs; empty if nowhere."""
        return f"{self.path}/inside" if self.path else ""

    def enter(self) -> tuple[str, ...]:
        """Begin a command line with this, and the command runs within the limits."""
        if not self.path:
            return ()
        files = []
        for controller in self._held():
            folder = self.root.hierarchies.folder(controller, f"{self.path}/source")
            if folder is not None:
                folder.mkdir(exist_ok=True)
                files.append(str(folder / "cgroup.procs"))
        return ("sh", "-c", _ENTER, "enter", " ".join(dict.fromkeys(files)))

    def out_of_memory(self) -> bool:
        """Return whether something of it was killed for want of memory, while it is there."""
        places = (self.path, self.of_container, f"{self.path}/source") if self.path else ()
        return any(
            cgroups.read_counters(self.root.hierarchies, place).oom_kills for place in places
        )

    def _held(self) -> list[str]:
        """Name the controllers that can be had here."""
        return [name for limit, name in _CONTROLLERS.items() if limit not in self.root.missing]

    def limit(self, options: BuildOptions) -> None:
        """Make it, and set its limits."""
        for controller in self._held():
            folder = self.root.hierarchies.folder(controller, self.path)
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        cgroups.change_limits(
            self.root.hierarchies,
            self.path,
            Limits(memory_bytes=options.memory_bytes, pids=options.pids),
            frozenset(self._held()),
        )
        if "memory" not in self.root.missing:
            cgroups.forbid_swap(self.root.hierarchies, self.path)


@contextmanager
def open_build_cgroup(root: CgroupRoot, options: BuildOptions) -> Iterator[BuildCgroup]:
    """Make a cgroup for a build, or a part of it; what is left in it is killed at the end."""
    if not root.cgroup:
        yield BuildCgroup(root, "")
        return
    cgroup = BuildCgroup(root, f"{root.cgroup}/build-{secrets.token_hex(4)}")
    try:
        try:
            cgroup.limit(options)
        except OSError as error:
            raise ContainersError(f"a build cannot be limited here: {error}") from error
        yield cgroup
    finally:
        with suppress(OSError):
            cgroups.remove_tree(root.hierarchies, cgroup.path, patience_s=5.0)
