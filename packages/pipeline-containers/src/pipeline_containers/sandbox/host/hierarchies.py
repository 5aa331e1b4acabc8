"""Which cgroups a process is in, and where they are mounted. No I/O but the readings at the end.

Version 1 has a hierarchy for each controller or a few, version 2 has one for all; a hybrid host has
both, and each controller is in one of them. Source: the kernel's `admin-guide/cgroup-v1` and
`cgroup-v2.rst`, cgroups(7), cgroup_namespaces(7).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.system.mountinfo import OWN, parse_mounts

UNIFIED = ""
"""The name of version 2's one hierarchy, beside version 1's controllers."""

PLACE = Path("/sys/fs/cgroup")
"""Where cgroups are mounted; the runtimes look for version 2 nowhere else."""

_CONTROLLERS = ("memory", "pids", "cpu", "cpuacct", "cpuset", "blkio", "devices", "freezer")


@dataclass(frozen=True, slots=True)
class CgroupMount:
    """A hierarchy, or a part of it, as it is mounted.

    `root` is the cgroup that is seen at `place`, as this process' cgroup namespace names it: one
    outside of that begins with "/..".
    """

    place: Path
    root: str = "/"
    is_read_only: bool = False

    def folder(self, cgroup: str) -> Path | None:
        """Return where a cgroup is seen; None if it is not."""
        if self.root == "/":
            return self.place / cgroup.strip("/")
        if not f"{cgroup}/".startswith(f"{self.root}/"):
            return None
        return self.place / cgroup.removeprefix(self.root).strip("/")


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where each hierarchy begins: by controller, `UNIFIED`, or `name=...`."""

    mounts: Mapping[str, Path]

    def folder(self, controller: str, cgroup: str) -> Path | None:
        """Return where a cgroup is in the hierarchy that has the controller."""
        mount = self.mounts.get(controller, self.mounts.get(UNIFIED))
        return None if mount is None else mount / cgroup.strip("/")

    def folders(self, cgroup: str) -> list[Path]:
        """Return where a cgroup is in every hierarchy."""
        path = cgroup.strip("/")  # mounts stay, and know their hashes: a job's paths are new
        return [mount / path for mount in sorted({*self.mounts.values()}, key=str)]

    def is_v1(self, controller: str) -> bool:
        """Return whether a controller has a hierarchy of its own."""
        return controller in self.mounts


def parse_cgroup_mounts(text: str) -> dict[str, CgroupMount]:
    """Find the hierarchies in the text of `/proc/self/mountinfo`, by each of their names.

    A host may have more mounts of them: views of a part, which containers are shown.
    """
    mounts: dict[str, CgroupMount] = {}
    for found in parse_mounts(text):
        is_read_only = "ro" in found.options or "ro" in found.kind_options
        mount = CgroupMount(found.place, found.root, is_read_only)
        if found.kind == "cgroup2":
            under = mounts.get(UNIFIED)
            # systemd 257 lays one file of a unit's cgroup over the read-only whole
            if under is None or (
                under.place not in mount.place.parents and _standing(mount) >= _standing(under)
            ):
                mounts[UNIFIED] = mount  # the last one lies on top
        elif found.kind == "cgroup":
            for option in found.kind_options:
                if not (option in _CONTROLLERS or option.startswith("name=")):
                    continue
                before = mounts.get(option)
                if before is None or _standing(mount) > _standing(before):
                    mounts[option] = mount
    return mounts


def _standing(mount: CgroupMount) -> tuple[bool, bool]:
    """Order mounts of a hierarchy: the usual place counts most, then that the whole is seen."""
    return mount.place.is_relative_to(PLACE), mount.root == "/"


def parse_hierarchies(text: str) -> Hierarchies:
    """Take whole hierarchies from the text of `/proc/self/mountinfo`."""
    return Hierarchies({name: mount.place for name, mount in parse_cgroup_mounts(text).items()})


def parse_own_cgroups(text: str) -> dict[str, str]:
    """Read the text of `/proc/self/cgroup`: a process' cgroup, by each hierarchy's names."""
    own: dict[str, str] = {}
    for line in text.splitlines():
        _, names, path = [*line.split(":", 2), "", ""][:3]
        for name in names.split(","):
            own.setdefault(name, path)
    return own


def find_cgroup_mounts() -> dict[str, CgroupMount]:
    """Find how hierarchies are mounted for this process."""
    return parse_cgroup_mounts(OWN.read_text())


def find_hierarchies() -> Hierarchies:
    """Find this host's whole hierarchies."""
    return parse_hierarchies(OWN.read_text())


def find_own() -> dict[str, str]:
    """Find the cgroups that this process is in."""
    return parse_own_cgroups(Path("/proc/self/cgroup").read_text())
