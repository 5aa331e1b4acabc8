"""The cgroups that are handed over to a process which is not root, and whether they take limits.

In version 1 the process' own cgroups, in version 2 the one around its own, are the tops; a runtime
reads a path that is not absolute in the same way.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from pipeline_containers.sandbox.cgroups import UNIFIED, Hierarchies, find_hierarchies

_LIMIT_FILES = {"memory": "memory.max", "pids": "pids.max", "cpus": "cpu.max"}
"""By limit, the file of version 2 that is there when the controller is."""


def parse_own_cgroups(text: str) -> dict[str, str]:
    """Read the text of `/proc/self/cgroup`: a process' cgroup, by each hierarchy's names."""
    own: dict[str, str] = {}
    for line in text.splitlines():
        _, names, path = [*line.split(":", 2), "", ""][:3]
        for name in names.split(","):
            own.setdefault(name, path)
    return own


def tops_for(hierarchies: Hierarchies, own: Mapping[str, str]) -> Hierarchies:
    """Take a process' own cgroups for the tops of the hierarchies; in version 2 the one around it.

    A cgroup of version 2 with processes has no controllers for its children: they lie beside it.
    """
    tops = {}
    for name, mount in hierarchies.mounts.items():
        path = own.get(name, "/")
        tops[name] = mount / (os.path.dirname(path) if name == UNIFIED else path).strip("/")
    return Hierarchies(tops)


def find_tops() -> Hierarchies:
    """Find this process'."""
    return tops_for(find_hierarchies(), _own())


def make_room() -> None:
    """Go into a child of one's own cgroup of version 2, so that it may have others.

    It may be done only where the cgroup is this user's. Where it is not, nothing is: which limits
    hold is found out later.
    """
    hierarchies = find_hierarchies()
    own = _own().get(UNIFIED)
    if own is None or UNIFIED not in hierarchies.mounts or hierarchies.is_v1("memory"):
        return
    top = hierarchies.mounts[UNIFIED] / own.strip("/")
    with contextlib.suppress(OSError):
        leaf = top / f"pipeline-{os.getpid()}"
        leaf.mkdir()
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        (top / "cgroup.subtree_control").write_text("+memory +pids +cpu")


def closed_limits(tops: Hierarchies, cgroup: str) -> dict[str, Path]:
    """Find the limits that this process cannot set below a cgroup, and where it fails.

    The cgroup is made where it can be. Version 1 has several hierarchies, and a runtime wants all
    of them for a container, whatever is limited.
    """
    if tops.is_v1("memory"):
        folders = [top / cgroup for name, top in tops.mounts.items() if name != UNIFIED]
        closed = next((folder.parent for folder in folders if not _has(folder)), None)
        return {} if closed is None else dict.fromkeys(_LIMIT_FILES, closed)
    top = tops.mounts.get(UNIFIED)
    if top is None:
        return dict.fromkeys(_LIMIT_FILES, Path("/sys/fs/cgroup"))
    is_there = _has(top / cgroup)
    return {
        name: top
        for name, file in _LIMIT_FILES.items()
        if not (is_there and os.access(top / cgroup / file, os.W_OK))
    }


def _has(folder: Path) -> bool:
    """Say whether this process has a cgroup of its own, made if need be."""
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
    return os.access(folder / "cgroup.procs", os.W_OK)


def _own() -> dict[str, str]:
    return parse_own_cgroups(Path("/proc/self/cgroup").read_text())
