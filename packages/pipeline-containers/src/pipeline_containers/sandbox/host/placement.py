"""Which cgroup of version 2 jobs may lie below: decided from what is known of each. No I/O.

A cgroup with processes has no controllers for its children, so the worker has to leave its own for
a leaf of it. Where its cgroup has been handed over (systemd: `Delegate=yes`), or is the root of a
cgroup namespace, as in a container, whatever else runs there goes into the leaf too. Where it has
not, systemd goes on managing it: it would stop the whole service when one job runs out of memory.
Then the nearest cgroup above is taken that has no processes: a slice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

LEAF = "pipeline-leaf"
"""The cgroup, within the one that jobs lie below, that the processes of it go into."""

AS_A_SERVICE = "start it as a service with Delegate=yes (docs/operating.md)"
AS_A_USER = (
    "start it as a service with User= and Delegate=yes, or by "
    "`systemd-run --user --scope -p Delegate=yes`"
)
MAKE_WRITABLE = (
    "in a systemd unit set ProtectControlGroups=no; in a container or pod have /sys/fs/cgroup "
    "mounted read-write"
)
SHOW_OWN = "mount its own there: mount -t cgroup2 cgroup2 /sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class CgroupCandidate:
    """A cgroup, and what counts for having jobs below it."""

    path: str
    problem: str = ""
    """Why this process cannot make cgroups there."""
    is_own: bool = False
    """This process is in it, or in its leaf."""
    is_delegated: bool = False
    """Handed over to whoever runs in it, or the root of a cgroup namespace."""
    is_host_root: bool = False
    """The host's own root, which may have processes beside children with controllers."""
    has_others: bool = False
    """Processes are in it that this one did not start."""

    @property
    def is_unit(self) -> bool:
        """Return whether systemd manages it as one that has processes."""
        return self.path.endswith((".service", ".scope"))


@dataclass(frozen=True, slots=True)
class Choice:
    """Where jobs are to lie; no path: nowhere. `passed` says why not nearer to the worker."""

    path: str | None
    clears_processes: bool = False
    """The processes in it have to go into its leaf."""
    passed: tuple[str, ...] = ()


def choose(candidates: Sequence[CgroupCandidate]) -> Choice:
    """Choose from a worker's own cgroup and those above it, the nearest first."""
    passed: list[str] = []
    for candidate in candidates:
        objection = _objection(candidate)
        if not objection:
            clears = not candidate.is_host_root and (candidate.is_own or candidate.has_others)
            return Choice(candidate.path, clears, tuple(passed))
        passed.append(objection)
    return Choice(None, passed=tuple(passed))


def _objection(candidate: CgroupCandidate) -> str:
    """Return why jobs should not lie below a cgroup, and what to do about it."""
    path = candidate.path
    if candidate.problem:
        return candidate.problem
    if candidate.is_host_root or candidate.is_delegated:
        return ""
    if candidate.is_unit:
        return f"{path} is not delegated: {_delegate(path)}"
    if candidate.has_others:
        return f"{path} has other processes: {AS_A_SERVICE}"
    return ""


def _delegate(path: str) -> str:
    name = path.rpartition("/")[2]
    if name.startswith("session-"):  # a login's
        return AS_A_SERVICE
    if name.endswith(".scope"):
        return "add -p Delegate=yes to the `systemd-run --scope` that starts it"
    return f"add Delegate=yes to the [Service] section of {name}"
