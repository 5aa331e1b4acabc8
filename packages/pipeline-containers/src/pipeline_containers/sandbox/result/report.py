"""What is said of a run when it is over: how it ended, what it used, what it left."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline_containers.sandbox.host.cgroups import CgroupCounters
from pipeline_containers.sandbox.limits import FILE_LOCKS, Limits

JOB_FOLDER, WRITABLE_ROOT = DISKS = ("job folder", "writable root")
"""What a job can fill."""


class Ending(enum.Enum):
    """How a run ended: by itself, or by which limit."""

    EXITED = "exited"
    TIMED_OUT = "timed_out"
    OUTPUT_LIMIT = "output_limit"
    MEMORY_LIMIT = "memory_limit"
    PIDS_LIMIT = "pids_limit"
    DISK_LIMIT = "disk_limit"
    LOCKS_LIMIT = "locks_limit"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run used; None where the kernel does not say."""

    wall_s: float
    cpu_s: float | None
    peak_memory_bytes: int | None
    oom_kills: int
    peak_pids: int | None
    stdout_bytes: int
    stderr_bytes: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """The whole account of one run.

    `exit_status` is 128 + signal if killed. `outputs` is the response made of the tool's files,
    `output_problem` says why there is none. `timing` is in seconds, by phase. `which_limit` names
    the limit of the ending, and is empty where there was none. `was_made_ahead`: the container
    had waited for the job, not the job for the container. `unenforced` names the limits that this
    host does not hold it to. `replaced` names what of `stdout`, `stderr` and `result` has U+FFFD in
    the place of NUL, invalid UTF-8 or half a surrogate pair. `warnings` are lines on what was put
    right in the result, or looks wrong in it.
    """

    ending: Ending
    exit_status: int
    stdout: str
    stderr: str
    outputs: dict[str, Any] | None
    output_problem: str | None
    usage: Usage
    timing: Mapping[str, float] = field(default_factory=dict)
    which_limit: str = ""
    was_made_ahead: bool = False
    unenforced: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether there is a result to give: valid, and the tool done with it.

        A tool that wrote a valid result and then failed to exit in time has succeeded.
        """
        if self.outputs is None:
            return False
        return self.ending is Ending.TIMED_OUT or (
            self.ending is Ending.EXITED and self.exit_status == 0
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a dead run, to judge its ending by.

    `stopped` is why the host ended it (None: it ended by itself), `full` names what has run out
    ("bytes" or "files") by `DISKS`.
    """

    stopped: Ending | None
    exit_status: int
    counters: CgroupCounters
    has_outputs: bool
    full: Mapping[str, str] = field(default_factory=dict)


def classify(evidence: Evidence) -> Ending:
    """Judge how a run ended.

    An exit status tells little: when the kernel kills a child for want of memory, its parent may
    exit with 0. Yet a tool that got through with a valid result has coped with what it met.
    """
    if evidence.stopped is not None:
        return evidence.stopped
    if evidence.exit_status == 0 and evidence.has_outputs:
        return Ending.EXITED
    if evidence.counters.oom_kills:
        return Ending.MEMORY_LIMIT
    if evidence.counters.pids_refused:
        return Ending.PIDS_LIMIT
    if evidence.full:
        return Ending.DISK_LIMIT
    return Ending.EXITED


def describe_limit(ending: Ending, evidence: Evidence, limits: Limits) -> str:
    """Name the limit that a run ran into, with the others that it had met on the way."""
    texts = {
        Ending.TIMED_OUT: f"wall time of {limits.wall_s:g} s",
        Ending.OUTPUT_LIMIT: (
            f"stdout of {limits.stdout_bytes} bytes or stderr of {limits.stderr_bytes} bytes"
        ),
        Ending.MEMORY_LIMIT: f"memory of {limits.memory_bytes} bytes",
        Ending.PIDS_LIMIT: f"{limits.pids} processes and threads",
        Ending.DISK_LIMIT: ", ".join(
            f"{disk} of {size} bytes and {limits.job_folder_files} files"
            for disk, size in zip(
                DISKS, (limits.job_folder_bytes, limits.writable_root_bytes), strict=True
            )
            if disk in evidence.full
        ),
        Ending.LOCKS_LIMIT: f"{FILE_LOCKS} locks on files",
    }
    if ending not in texts:
        return ""
    met = {
        Ending.MEMORY_LIMIT: evidence.counters.oom_kills,
        Ending.PIDS_LIMIT: evidence.counters.pids_refused,
        Ending.DISK_LIMIT: evidence.full,
    }
    others = [texts[other] for other, happened in met.items() if happened and other is not ending]
    return texts[ending] + (f" (after {', '.join(others)})" if others else "")
