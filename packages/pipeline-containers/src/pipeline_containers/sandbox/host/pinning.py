"""A job's cpuset: the processors that it has, changed when it can have better ones."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from pipeline_containers.sandbox.host import cgroups
from pipeline_containers.sandbox.host.cgroup_root import CgroupRoot
from pipeline_containers.sandbox.host.hierarchies import Hierarchies
from pipeline_containers.sandbox.host.processors import (
    ProcessorPlace,
    Processors,
    find_siblings,
    parse_processors,
    spread,
)


class Pinning:
    """One cgroup's, from before it runs until it is dead."""

    def __init__(
        self, processors: Processors, hierarchies: Hierarchies, cgroup: str, cpus: float
    ) -> None:
        """Give it its processors, if it is to have some of its own."""
        self._processors = processors
        self._hierarchies = hierarchies
        self._cgroup = cgroup
        self._places = processors.take(cpus)
        self._write(self._places)

    def look(self) -> None:
        """Have it move if others have left a better place."""
        better = self._processors.improve(self._places)
        if better != self._places:
            self._places = better
            self._write(better)

    def close(self) -> None:
        """Let others have its processors."""
        self._processors.give_back(self._places)
        self._places = []

    def _write(self, places: Sequence[ProcessorPlace]) -> None:
        if places:
            numbers = ",".join(str(place.processor) for place in places)
            with contextlib.suppress(OSError):  # its quota holds; a processor may have gone
                cgroups.pin(self._hierarchies, self._cgroup, numbers)


def usable_processors(root: CgroupRoot) -> list[int]:
    """List the processors that jobs below a cgroup may be given, in the order to be taken.

    None where they can be given no cpuset.
    """
    if not root.cgroup or not cgroups.has_cpusets(root.hierarchies, root.cgroup):
        return []
    folder = root.hierarchies.folder("cpuset", root.cgroup)
    given = set(_effective(folder)) if folder is not None else set()
    usable = sorted(given & os.sched_getaffinity(0))
    return spread(find_siblings(usable))


def _effective(folder: Path) -> list[int]:
    """Read a cgroup's processors; one of version 1 that was given none yet has its parent's."""
    for place in (folder, *folder.parents):
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus"):
            with contextlib.suppress(OSError):
                if found := parse_processors((place / name).read_text()):
                    return found
    return []
