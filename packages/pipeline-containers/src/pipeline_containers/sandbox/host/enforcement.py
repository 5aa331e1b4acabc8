"""What this host lets the sandbox enforce; whatever it does not, an operator has to allow by name.

It depends on what the worker was given: cgroups with their controllers, ids for its jobs.
"""

import os
import resource
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.cgroup_root import CONTROLLERS
from pipeline_containers.sandbox.host.ids import OWN_ONLY, IdMap
from pipeline_containers.sandbox.limits import NO_CORE_DUMP, RLIMITS

OPEN_FILE_BYTES = 256
"""The least that an open file takes of the memory that is counted for a job."""
IDS = "ids"
"""That jobs are other users than the worker."""
NAMES = (*CONTROLLERS, IDS)

_NO_IDS = (
    "jobs would run as this user, in its groups: it has no subordinate ids "
    "(apt install uidmap; usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST NAME, "
    "65536 of each)"
)


@dataclass(frozen=True, slots=True)
class Enforcement:
    """The limits that hold here, of `NAMES`, and why the others do not."""

    missing: Mapping[str, str]
    is_root: bool = True
    """The worker is the host's root: it is no answer to start it as root."""

    def holds(self, name: str) -> bool:
        """Return whether a limit is enforced."""
        return name not in self.missing

    @property
    def controllers(self) -> frozenset[str]:
        """The cgroup controllers that hold containers to their limits."""
        return frozenset(own for name, own in CONTROLLERS.items() if self.holds(name))

    def require(self, allowed: Collection[str]) -> None:
        """Raise `SandboxError` if something does not hold that was not allowed by name."""
        refused = {name: why for name, why in self.missing.items() if name not in allowed}
        if refused:
            reasons = "; ".join(
                f"{', '.join(name for name in refused if refused[name] == why)}: {why}"
                for why in dict.fromkeys(refused.values())
            )
            raise SandboxError(
                f"this host does not let the sandbox enforce {reasons}. "
                f"{'Hand' if self.is_root else 'Start it as root, or hand'} over what is missing "
                "(docs/sandbox.md, Without root), "
                f"or allow it by name: --allow-unenforced {','.join(refused)}"
            )


FULL = Enforcement({})
"""All of them."""


def find_enforcement(closed: Mapping[str, str], ids: IdMap) -> Enforcement:
    """Return what holds for containers of such ids, where some limits are closed to the sandbox."""
    missing = {**closed, **({IDS: _NO_IDS} if ids == OWN_ONLY else {})}
    return Enforcement(missing, ids.is_of_host)


def host_ceilings() -> dict[str, int]:
    """Read this process' hard limits: without CAP_SYS_RESOURCE nothing gets beyond them.

    That of core dumps is raised to the jobs' own first, if it may be.
    """
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (NO_CORE_DUMP, NO_CORE_DUMP))
    limits = {name: resource.getrlimit(getattr(resource, name))[1] for name in RLIMITS}
    return {name: value for name, value in limits.items() if value != resource.RLIM_INFINITY}


def why_crashes_are_handled(ceilings: Mapping[str, int], core_pattern: str) -> str:
    """Say why this host's crash handler (core_pattern of /proc/sys/kernel) hears of jobs.

    Nothing: it does not.
    """
    if core_pattern.startswith("@"):
        return (
            f"what crashes in a job is told to the socket {core_pattern[1:].strip()}, which no "
            "limit prevents: have kernel.core_pattern be a file or a program"
        )
    if not core_pattern.startswith("|") or ceilings.get("RLIMIT_CORE") != 0:
        return ""
    return (
        f"what crashes in a job has {core_pattern[1:].split()[0]} started, as this host's root: "
        f"have this process' hard limit of core dumps be {NO_CORE_DUMP} byte or more "
        "(LimitCORE=infinity in a unit), not 0"
    )


def open_files_of_job(most: int, jobs: int) -> int:
    """Give how many of the host's open files are a job's, of all its processes together.

    Half of them are for all jobs, by `most`, the host's limit (`fs.file-max`).
    """
    return most // 2 // jobs


def most_open_files() -> int:
    """Read how many files the host lets be open; its root may have more."""
    return int(Path("/proc/sys/fs/file-max").read_text())


def processes_of_jobs(most: int) -> int:
    """Give how many of the `most` processes and threads of a host all jobs of a worker may have.

    A quarter: with several workers the host itself has some left.
    """
    return most // 4


def most_processes() -> int:
    """Read how many processes and threads the host can have."""
    files = ("pid_max", "threads-max")
    return min(int((Path("/proc/sys/kernel") / name).read_text()) for name in files)


def memory_bytes() -> int:
    """Read how much memory the host has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def why_files_run_out(most: int, memory_bytes: int) -> str:
    """Say why memory is not what bounds the host's open files; nothing: it is."""
    if most * OPEN_FILE_BYTES >= memory_bytes:
        return ""
    enough = -(-memory_bytes // OPEN_FILE_BYTES)
    return (
        f"the host lets {most} files be open, less than its memory has room for, so that each "
        f"job's processes have few, and those that are mapped can still use up the others' "
        f"(not root's): sysctl -w fs.file-max={enough}"
    )
