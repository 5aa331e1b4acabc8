"""Every limit of a run, in one place, with the unit in the name."""

from dataclasses import dataclass

from pipeline_containers.system.units import GIB, MIB

CPU_PERIOD_US = 100_000
"""What the cgroup's processor time is counted out in."""

RLIMITS = (
    "RLIMIT_NOFILE",
    "RLIMIT_CORE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_NPROC",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
)
"""The resource limits that are set beside the cgroup's."""
NO_CORE_DUMP = 1
"""The limit, in bytes, that has no core dump made, neither into a file nor by a crash handler of
the host's, which the kernel starts whatever the limit is, but for this one: core(5)."""
PENDING_SIGNALS = 1024
"""Queued signals and timers: the kernel counts those of all jobs for the host's root as well."""
TERMINALS = 16
"""Of a job, of 3,071 that all jobs can have together."""
LEAST_OPEN_FILES = 256
"""Of a process, however few the host has: what some systems give by default."""
FILE_LOCKS = 10_000
"""Of a job: two megabytes that are counted nowhere else."""

LOOSENINGS = ("writable_root_bytes", "ptrace", "root_capabilities")
"""Of the limits, what lets a job do more than the sandbox does by itself; off as long as it is 0 or
False."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. The defaults are those of Exercism.

    Swap is part of memory; the job folder and /tmp live in memory and count towards it too.
    """

    wall_s: float = 20.0
    memory_bytes: int = 3 * GIB
    cpus: float = 1.0
    pids: int = 1024
    stdout_bytes: int = 1 * MIB
    stderr_bytes: int = 1 * MIB
    result_bytes: int = 500_000
    job_folder_bytes: int = 512 * MIB
    job_folder_files: int = 100_000
    tmp_bytes: int = 256 * MIB
    shm_bytes: int = 64 * MIB
    open_files: int = 65_536
    writable_root_bytes: int = 0
    """Of what may be written over the image's files; 0: nothing may."""
    ptrace: bool = False
    """Whether processes may trace each other."""
    root_capabilities: bool = False
    """Whether the container's root has a container's usual rights over files."""

    def __post_init__(self) -> None:
        """Refuse what no container could start with."""
        if self.memory_bytes < MINIMUM_MEMORY_BYTES:
            raise ValueError(f"memory_bytes must be at least {MINIMUM_MEMORY_BYTES}")
        for name in self.__slots__:
            value = getattr(self, name)
            if name not in LOOSENINGS and not value > 0:
                raise ValueError(f"{name} must be more than 0, is {value!r}")
        if self.writable_root_bytes < 0:
            raise ValueError("writable_root_bytes must be 0 or more")

    def cpu_quota_us(self, period_us: int) -> int:
        """Return the time on all cores together that it may have in each period."""
        return max(1_000, int(self.cpus * period_us))

    def cpu_shares(self) -> int:
        """Give its weight against others, as version 1 of cgroups counts: 1024 a core."""
        return max(2, int(self.cpus * 1024))

    def of_cgroup(self) -> tuple[float, ...]:
        """Give those that the cgroup holds a container to: they can be changed afterwards."""
        return (self.memory_bytes, self.cpus, self.pids)

    def at_creation(self) -> tuple[float, ...]:
        """Give those that lie inside a container: it has them from its creation to its end."""
        sizes = (self.job_folder_files, self.tmp_bytes, self.shm_bytes, self.open_files)
        return (*sizes, *(getattr(self, name) for name in LOOSENINGS))


MINIMUM_MEMORY_BYTES = 6 * MIB
"""Under 3 MiB the runtime itself does not start; twice that leaves something for the tool."""
