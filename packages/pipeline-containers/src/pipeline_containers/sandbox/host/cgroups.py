"""What a container's cgroup holds it to, what it counted, and the removal of what stays of it.

Version 1, version 2 and the two side by side (hybrid) differ in files and units only: the tables
below are that difference. Counters are read between a container's death and its deletion, which
takes the cgroup with it. Source: the kernel's `admin-guide/cgroup-v1` and `cgroup-v2.rst`.
"""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline_containers.sandbox.host.hierarchies import Hierarchies
from pipeline_containers.sandbox.limits import CPU_PERIOD_US, Limits
from pipeline_containers.system.files import read_kernel, write_kernel


@dataclass(frozen=True, slots=True)
class CgroupCounters:
    """What a cgroup counted; None where the kernel does not say."""

    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    oom_kills: int = 0
    peak_pids: int | None = None
    pids_refused: int = 0


@dataclass(frozen=True, slots=True)
class _Source:
    """A counter's file; `key` is the word its line begins with, where it has several."""

    controller: str
    file: str
    key: str = ""
    scale: float = 1


_V1_SOCKETS = "memory.kmem.tcp.{}_in_bytes"
"""What waits in sockets, UDP's too: version 1 counts it apart from all other memory."""

_FEW_BYTES = 1 << 20
"""In sockets: below, nothing else is looked at."""
_DROPPABLE = ("total_active_file", "total_inactive_file")
"""In `memory.stat`: copies of files."""

_V1 = {
    "cpu": _Source("cpuacct", "cpuacct.usage", scale=1e-9),
    "peak_memory": _Source("memory", "memory.max_usage_in_bytes"),
    "peak_sockets": _Source("memory", _V1_SOCKETS.format("max_usage")),
    "oom_kills": _Source("memory", "memory.oom_control", "oom_kill"),
    "peak_pids": _Source("pids", "pids.peak"),
    "pids_refused": _Source("pids", "pids.events", "max"),
}
_V2: dict[str, _Source | None] = {
    "cpu": _Source("cpu", "cpu.stat", "usage_usec", scale=1e-6),
    "peak_memory": _Source("memory", "memory.peak"),
    "peak_sockets": None,
    "oom_kills": _Source("memory", "memory.events", "oom_kill"),
    "peak_pids": _Source("pids", "pids.peak"),
    "pids_refused": _Source("pids", "pids.events", "max"),
}


def parse_counter(text: str, key: str) -> int | None:
    """Take a counter from its file's text: the only number, or the one of a line's key."""
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == key and value.isdigit():
            return int(value)
    return None


def read_counters(hierarchies: Hierarchies, cgroup: str) -> CgroupCounters:
    """Read what a container's cgroup counted."""
    values: dict[str, float | None] = {}
    for name, first in _V1.items():
        source = first if hierarchies.is_v1(first.controller) else _V2[name]
        if source is None:
            continue
        folder = hierarchies.folder(source.controller, cgroup)
        count = None if folder is None else parse_counter(_text(folder / source.file), source.key)
        values[name] = None if count is None else count * source.scale
    peak, pids = values["peak_memory"], values["peak_pids"]
    return CgroupCounters(
        cpu_s=values["cpu"],
        peak_memory_bytes=None if peak is None else int(peak + (values.get("peak_sockets") or 0)),
        oom_kills=int(values["oom_kills"] or 0),
        peak_pids=None if pids is None else int(pids),
        pids_refused=int(values["pids_refused"] or 0),
    )


class Peaks:
    """The most that a cgroup used at a time, as far as looks at it see, where no file keeps it.

    `memory.peak` is there since Linux 5.19, `pids.peak` since 6.11, or where it was brought to an
    older one.
    """

    def __init__(self, hierarchies: Hierarchies, cgroup: str) -> None:
        self._files: dict[str, Path] = {}
        self._most: dict[str, int] = {}
        for controller in ("memory", "pids"):
            folder = hierarchies.folder(controller, cgroup)
            if folder is None or hierarchies.is_v1(controller):
                continue
            if not (folder / f"{controller}.peak").exists():
                self._files[controller] = folder / f"{controller}.current"

    def look(self) -> None:
        """Take in what is used now."""
        for controller, file in self._files.items():
            now = parse_counter(_text(file), "")
            if now is not None:
                self._most[controller] = max(now, self._most.get(controller, 0))

    def complete(self, counters: CgroupCounters) -> CgroupCounters:
        """Fill in what the kernel did not keep."""
        memory, pids = counters.peak_memory_bytes, counters.peak_pids
        return replace(
            counters,
            peak_memory_bytes=self._most.get("memory") if memory is None else memory,
            peak_pids=self._most.get("pids") if pids is None else pids,
        )


def swap_is_counted(hierarchies: Hierarchies, cgroup: str) -> bool:
    """Return whether this kernel takes a limit for swap, of a cgroup or of those below it."""
    v1 = hierarchies.is_v1("memory")
    folder = hierarchies.folder("memory", cgroup)
    file = "memory.memsw.limit_in_bytes" if v1 else "memory.swap.max"
    return folder is not None and (folder / file).exists()


def sockets_are_apart(hierarchies: Hierarchies, cgroup: str) -> bool:
    """Return whether this kernel counts what waits in sockets apart from all other memory."""
    folder = hierarchies.folder("memory", cgroup)
    if folder is None or not hierarchies.is_v1("memory"):
        return False
    return (folder / _V1_SOCKETS.format("limit")).exists()


def bound_sockets(hierarchies: Hierarchies, cgroup: str, limits: Limits) -> None:
    """Hold a cgroup of version 1 to what may wait in its sockets, before it has any.

    From then on it is counted; but each socket may have a little beyond: see `SocketWatch`.
    """
    file = _V1_SOCKETS.format("limit")
    _write(hierarchies, "memory", cgroup, file, limits.memory_bytes)


class SocketWatch:
    """Whether all that a cgroup has in memory is over its limit, where sockets are counted apart.

    What can be dropped at any time, copies of files, counts for nothing.
    """

    def __init__(self, hierarchies: Hierarchies, cgroup: str, limits: Limits) -> None:
        self._folder = hierarchies.folder("memory", cgroup)
        self._limits = limits

    def is_over(self) -> bool:
        """Look, as long as there is something to speak of in the sockets."""
        sockets = self._read(_V1_SOCKETS.format("usage"))
        if sockets < _FEW_BYTES:
            return False
        files = sum(self._read("memory.stat", kind) for kind in _DROPPABLE)
        used = self._read("memory.usage_in_bytes")
        return sockets + used - files > self._limits.memory_bytes

    def _read(self, file: str, key: str = "") -> int:
        return (self._folder and parse_counter(_text(self._folder / file), key)) or 0


ALL = frozenset(("memory", "pids", "cpu"))
"""The controllers that hold a container to its limits."""


def change_limits(
    hierarchies: Hierarchies, cgroup: str, limits: Limits, controllers: frozenset[str] = ALL
) -> None:
    """Hold an existing cgroup to other limits; raises `OSError` if it cannot be."""
    if "memory" in controllers:
        _change_memory(hierarchies, cgroup, limits)
    if "pids" in controllers:
        _write(hierarchies, "pids", cgroup, "pids.max", limits.pids)
    if "cpu" in controllers:
        _change_cpu(hierarchies, cgroup, limits)


def _change_memory(hierarchies: Hierarchies, cgroup: str, limits: Limits) -> None:
    """Change the limit of memory and swap.

    In version 1 the limit of memory and swap together may never lie below that of memory: whichever
    way they go, one of the two orders fits.
    """
    if hierarchies.is_v1("memory"):
        folder = hierarchies.folder("memory", cgroup)
        assert folder is not None  # noqa: S101 -- it has a hierarchy
        files = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        if not (folder / files[1]).exists():  # this kernel does not count swap
            files.pop()
        elif int(read_kernel(folder / files[0])) < limits.memory_bytes:
            files.reverse()
        for file in files:
            write_kernel(folder / file, str(limits.memory_bytes))
        if sockets_are_apart(hierarchies, cgroup):
            bound_sockets(hierarchies, cgroup, limits)
    else:
        _write(hierarchies, "memory", cgroup, "memory.max", limits.memory_bytes)


def forbid_swap(hierarchies: Hierarchies, cgroup: str) -> None:
    """Have the limit of memory be one of swap too, in version 2, where it is another file."""
    folder = hierarchies.folder("memory", cgroup)
    if folder is not None and (folder / "memory.swap.max").exists():
        (folder / "memory.swap.max").write_text("0")


def _change_cpu(hierarchies: Hierarchies, cgroup: str, limits: Limits) -> None:
    quota = limits.cpu_quota_us(CPU_PERIOD_US)
    if hierarchies.is_v1("cpu"):
        _write(hierarchies, "cpu", cgroup, "cpu.cfs_quota_us", quota)
    else:
        _write(hierarchies, "cpu", cgroup, "cpu.max", f"{quota} {CPU_PERIOD_US}")
    change_shares(hierarchies, cgroup, limits.cpu_shares())


def change_shares(hierarchies: Hierarchies, cgroup: str, shares: int) -> None:
    """Weigh an existing cgroup against those beside it when all want the processors."""
    if hierarchies.is_v1("cpu"):
        _write(hierarchies, "cpu", cgroup, "cpu.shares", shares)
    else:
        _write(hierarchies, "cpu", cgroup, "cpu.weight", weight_of_shares(shares))


def weight_of_shares(shares: int) -> int:
    """Convert version 1's weights to version 2's, as the runtimes do.

    2 to 262,144 onto 1 to 10,000.
    """
    return 1 + (shares - 2) * 9_999 // 262_142


def has_cpusets(hierarchies: Hierarchies, cgroup: str) -> bool:
    """Return whether cgroups below one can be held to some processors."""
    if hierarchies.is_v1("cpuset"):
        return True
    folder = hierarchies.folder("cpuset", cgroup)
    return folder is not None and "cpuset" in _text(folder / "cgroup.subtree_control").split()


def pin(hierarchies: Hierarchies, cgroup: str, processors: str) -> None:
    """Hold a cgroup to some processors, in the kernel's notation; `OSError` if it cannot be."""
    _write(hierarchies, "cpuset", cgroup, "cpuset.cpus", processors)


def bound_processes(hierarchies: Hierarchies, cgroup: str, most: int) -> None:
    """Let all below a cgroup have so many processes and threads, if it can hold them to that."""
    folder = hierarchies.folder("pids", cgroup)
    with contextlib.suppress(OSError):  # the controller was not handed over, or the bound is lower
        if folder is not None:
            (folder / "pids.max").write_text(str(most))


def enter(hierarchies: Hierarchies, controller: str, cgroup: str, pid: int) -> None:
    """Move a process, and what it will start, into a cgroup that has the controller."""
    _write(hierarchies, controller, cgroup, "cgroup.procs", pid)


def _write(
    hierarchies: Hierarchies, controller: str, cgroup: str, file: str, value: object
) -> None:
    folder = hierarchies.folder(controller, cgroup)
    if folder is None:
        raise OSError(errno.ENOENT, f"no hierarchy has the controller {controller}")
    write_kernel(folder / file, str(value))


def lift_cpu_quota(hierarchies: Hierarchies, cgroup: str) -> None:
    """Let a dying container die at full speed: throttled processes take long to."""
    v1 = hierarchies.is_v1("cpu")
    folder = hierarchies.folder("cpu", cgroup)
    if folder is not None:
        with contextlib.suppress(OSError):
            file, value = ("cpu.cfs_quota_us", "-1") if v1 else ("cpu.max", "max")
            write_kernel(folder / file, value)


def remove_tree(hierarchies: Hierarchies, cgroup: str, patience_s: float = 1.0) -> bool:
    """Kill what is left in a cgroup and those below it, and remove them; false if some stay."""
    return remove_folders(hierarchies.folders(cgroup), patience_s)


def remove_folders(tops: Sequence[Path], patience_s: float = 1.0) -> bool:
    """Do the same to cgroups by their folders."""
    deadline = time.monotonic() + patience_s
    if all(_is_removed(top) for top in tops):
        return True
    while True:
        folders = [folder for top in tops for folder in _below(top)]
        for folder in folders:
            _kill(folder)
            with contextlib.suppress(OSError):
                folder.rmdir()
        if not any(folder.exists() for folder in folders):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)


def remove_if_empty(hierarchies: Hierarchies, cgroup: str) -> None:
    """Remove a parent that the runtime made, wherever nothing is in it any more."""
    for folder in hierarchies.folders(cgroup):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _below(top: Path) -> Iterator[Path]:
    """Deepest first."""
    for folder, _, _ in os.walk(top, topdown=False):
        yield Path(folder)


def _kill(folder: Path) -> None:
    kill = folder / "cgroup.kill"  # version 2, since Linux 5.14
    if kill.exists():
        with contextlib.suppress(OSError):
            kill.write_text("1")
        return
    for line in _text(folder / "cgroup.procs").split():
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(line), signal.SIGKILL)


def _text(file: Path) -> str:
    try:
        return read_kernel(file)
    except OSError:
        return ""
