"""What a container is shown of its cgroup: where each hierarchy that counts for it is mounted.

Runtimes of languages size themselves by what they find at /sys/fs/cgroup. In version 2 that is the
cgroup itself. In version 1 it is a folder for each hierarchy: those of the limits alone, for each
mount is paid by each job, and the names of the others (`name=...`) are the host's affair. No I/O.
Source: cgroups(7); systemd's names for hierarchies of several controllers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_containers.sandbox.host.hierarchies import UNIFIED, Hierarchies

SHOWN = ("memory", "cpu", "cpuacct", "cpuset", "pids")
"""The controllers of version 1; the JVM takes limits from nowhere when one of the first four lacks.
"""


@dataclass(frozen=True, slots=True)
class CgroupView:
    """Either one cgroup, of version 2, or folders by name, of version 1, and links to them."""

    whole: Path | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    def sources(self) -> list[Path]:
        """Return the cgroup's folders on the host, which must be there to be mounted."""
        return list(self.folders.values()) if self.whole is None else [self.whole]


def view_of(hierarchies: Hierarchies, cgroup: str) -> CgroupView | None:
    """Say what is shown of a cgroup, by its path; None where there is none to be seen."""
    if not cgroup:
        return None
    controllers: dict[Path, list[str]] = {}
    for name in SHOWN:
        folder = hierarchies.folder(name, cgroup)
        if folder is not None and hierarchies.is_v1(name):
            controllers.setdefault(folder, []).append(name)
    if not controllers:
        whole = hierarchies.folder(UNIFIED, cgroup)
        return None if whole is None else CgroupView(whole)
    folders = {",".join(names): folder for folder, names in controllers.items()}
    links = {
        name: joined for joined in folders for name in joined.split(",") if name not in folders
    }
    return CgroupView(folders=folders, links=links)
