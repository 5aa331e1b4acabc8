"""What a live worker and its runs have on the host, counted."""

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hostile.ordinary import User, worker_of
from support.descriptors import open_descriptors
from support.leftovers import sandbox_cgroups
from support.pace import paced

_REST_S = 1.0
"""Longer than a container takes to be made ahead: while one is made, nothing else may change."""


@dataclass(frozen=True)
class Traces:
    """How much of each there is."""

    processes: int
    mounts: int
    cgroups: int
    folders: int
    """Of live containers: their bundles, and the runtime's state."""
    files: Counter[str]
    """In the worker's own folder, by part, but for what is mounted there."""
    descriptors: Counter[str]
    """Of the worker, by what they lead to."""


def find_traces(worker_folder: Path, worker: int, user: User | None = None) -> Traces:
    """Count what a worker, a folder and a process, has now; `user`: whose it is if not root's."""
    while True:
        with suppress(OSError):  # something went while it was looked at
            return _count(worker_folder, worker, user)


def _count(worker_folder: Path, worker: int, user: User | None) -> Traces:
    run = worker_folder / "run"
    cgroups = _cgroups(run, user)
    worker = worker if user is None else worker_of(worker)
    mounts = [place for place in _mount_points(worker) if place.startswith(f"{run}/")]
    return Traces(
        processes=len(_processes(cgroups) if user is None else user.processes()),
        mounts=len(mounts),
        cgroups=len(cgroups),
        folders=sum(len(list((run / name).glob("[!.]*"))) for name in ("jobs", "runtime")),
        files=_count_files(worker_folder, set(mounts)),
        descriptors=open_descriptors(worker),
    )


def settle(traces: Callable[[], Traces], wanted: Traces, seconds: float = 10.0) -> Traces:
    """Wait until there is as much as wanted: a container may be removed after its answer.

    What the worker had open may be closed since; nothing may be open beside it.
    """
    until = time.monotonic() + paced(seconds)
    while True:
        found = traces()
        if found.descriptors <= wanted.descriptors:
            found = replace(found, descriptors=wanted.descriptors)
        if found == wanted or time.monotonic() > until:
            return found
        time.sleep(0.01)


def at_rest(traces: Callable[[], Traces]) -> Traces:
    """Wait until what is done in the background is done; what there is then."""
    last, since = traces(), time.monotonic()
    while time.monotonic() - since < paced(_REST_S):
        time.sleep(0.05)
        if last != (last := traces()):
            since = time.monotonic()
    return last


def resident_bytes(process: int) -> int:
    """Say how much memory a process has in use."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cgroups(run: Path, user: User | None) -> list[Path]:
    """List the containers' cgroups; their parents are the worker's."""
    if user is None:
        tops = sandbox_cgroups(run)
    else:
        tops = [top for place in user.cgroups() for top in place.glob("pipeline-*")]
    return [Path(place, name) for top in tops for place, names, _ in os.walk(top) for name in names]


def _mount_points(process: int) -> list[str]:
    """List where something is mounted, as a process sees it, or this one when that is dead."""
    for place in (process, "self"):
        with suppress(FileNotFoundError):
            lines = Path(f"/proc/{place}/mountinfo").read_text().splitlines()
            return [line.split()[4] for line in lines]
    return []


def _processes(cgroups: list[Path]) -> set[str]:
    """List what runs in the cgroups: no process gets out of its own."""
    return {pid for cgroup in cgroups for pid in (cgroup / "cgroup.procs").read_text().split()}


def _count_files(folder: Path, mounts: set[str]) -> Counter[str]:
    """Count by the part of the folder that they are in: containers' own have names by chance."""
    found: Counter[str] = Counter()
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if f"{place}/{name}" not in mounts]
        part = "/".join(Path(place).relative_to(folder).parts[:2])
        found[part] += len(folders) + len(files)
    return found
