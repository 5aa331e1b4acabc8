"""What a live worker and its runs have on the host, counted."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from support.leftovers import mount_points, sandbox_cgroups


@dataclass(frozen=True)
class Traces:
    """How much of each there is."""

    processes: int
    mounts: int
    cgroups: int
    folders: int
    """Of live containers: their bundles, and the runtime's state."""
    files: int
    """In the worker's own folder, but for what is mounted there."""
    descriptors: int


def find_traces(worker_folder: Path, worker: int) -> Traces:
    """Count what a worker, a folder and a process, has now."""
    while True:
        with suppress(OSError):  # something went while it was looked at
            return _count(worker_folder, worker)


def _count(worker_folder: Path, worker: int) -> Traces:
    run = worker_folder / "run"
    cgroups = _cgroups(run)
    mounts = [place for place in mount_points() if place.startswith(f"{run}/")]
    return Traces(
        processes=len(_processes(cgroups)),
        mounts=len(mounts),
        cgroups=len(cgroups),
        folders=sum(len(os.listdir(run / name)) for name in ("jobs", "runtime")),
        files=_count_files(worker_folder, set(mounts)),
        descriptors=_count_descriptors(worker),
    )


def settle(traces: Callable[[], Traces], wanted: Traces, seconds: float = 10.0) -> Traces:
    """Wait until there is as much as wanted: a container may be removed after its answer."""
    until = time.monotonic() + seconds
    while True:
        found = traces()
        if found == wanted or time.monotonic() > until:
            return found
        time.sleep(0.01)


def resident_bytes(process: int) -> int:
    """Say how much memory a process has in use."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cgroups(run: Path) -> list[Path]:
    """List the containers' cgroups; their parents are the worker's."""
    tops = sandbox_cgroups(run)
    return [Path(place, name) for top in tops for place, names, _ in os.walk(top) for name in names]


def _processes(cgroups: list[Path]) -> set[str]:
    """List what runs in the cgroups: no process gets out of its own."""
    return {pid for cgroup in cgroups for pid in (cgroup / "cgroup.procs").read_text().split()}


def _count_descriptors(process: int) -> int:
    try:
        return len(os.listdir(f"/proc/{process}/fd"))
    except FileNotFoundError:
        return 0  # it is dead


def _count_files(folder: Path, mounts: set[str]) -> int:
    count = 0
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if f"{place}/{name}" not in mounts]
        count += len(folders) + len(files)
    return count
