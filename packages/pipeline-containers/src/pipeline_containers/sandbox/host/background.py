"""Where programs run that no job waits for: beside the jobs, and weighed little against them.

Niceness alone does nothing for jobs: the kernel first weighs cgroups, and sessions (autogroups),
and only then the processes in each. Source: sched(7), cgroups(7).
"""

from contextlib import suppress
from pathlib import Path

from pipeline_containers.sandbox.host import cgroups
from pipeline_containers.sandbox.host.hierarchies import Hierarchies

SHARES = 100
"""A container with one processor has 1,024: where all are busy, some progress is still made."""
_NICENESS = 10
"""Of a session, where there is no cgroup to be had; it weighs as much."""


class Background:
    """A cgroup beside the one that containers lie below, made when it is needed.

    An empty `beside` stands for none, as where a user was given none.
    """

    def __init__(self, hierarchies: Hierarchies, beside: str) -> None:
        self._hierarchies = hierarchies
        self._cgroup = f"{beside}-background" if beside else ""

    def take(self, pid: int) -> None:
        """Move a process here, which leads a session, before it starts others; if it still lives.

        Where that cannot be, its session counts for less.
        """
        with suppress(OSError):
            if self._cgroup:
                self._enter(pid)
                return
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS))

    def folders(self) -> list[Path]:
        """Return where the cgroup is, or would be."""
        return self._hierarchies.folders(self._cgroup) if self._cgroup else []

    def remove(self) -> None:
        """End what is left here, and remove the cgroup."""
        cgroups.remove_folders(self.folders())

    def _enter(self, pid: int) -> None:
        folder = self._hierarchies.folder("cpu", self._cgroup)
        if folder is not None:
            folder.mkdir(exist_ok=True)
        cgroups.change_shares(self._hierarchies, self._cgroup, SHARES)
        cgroups.enter(self._hierarchies, "cpu", self._cgroup, pid)
