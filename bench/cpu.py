"""CPU time: this process' and its children's, and that of the kernel's own threads.

What the kernel does later for a job, as to take its network and cgroups apart, its threads do, and
no process is charged for it. They work for the whole machine: so it is to be quiet.
"""

import resource
import time
from pathlib import Path

_KTHREADD = "2"
"""The parent of them all."""
_LATE_S = 0.3
"""The kernel has done by then what it does later."""


class CpuMeter:
    """Counts from now on."""

    def __init__(self) -> None:
        self._threads = _kernel_threads()
        self._processes = _processes_s()

    def stop(self) -> tuple[float, float]:
        """Return the seconds of processes that have ended, or are this one, and the kernel's."""
        processes = _processes_s() - self._processes
        time.sleep(_LATE_S)
        spent = (
            seconds - self._threads.get(number, 0.0)
            for number, seconds in _kernel_threads().items()
        )
        return processes, sum(spent)


def _processes_s() -> float:
    usages = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _kernel_threads() -> dict[str, float]:
    """Read the time of each thread of the kernel, by its number; one that ends is not counted."""
    threads = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == _KTHREADD:
                threads[folder.name] = int((folder / "schedstat").read_text().split()[0]) / 1e9
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
    return threads
