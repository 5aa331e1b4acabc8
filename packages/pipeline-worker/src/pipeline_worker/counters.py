"""What a worker's process has done, through all its sessions, in plain cells."""

from msgspec import Struct

from pipeline_protocol.monitor.histogram import Histogram
from pipeline_protocol.status import STATUSES

OTHER_CODE = 0


class WorkerCounters:
    """Of the loop's thread alone."""

    def __init__(self) -> None:
        self.ended = dict.fromkeys((OTHER_CODE, *STATUSES), 0)
        """Jobs by their replies' codes."""
        self.ran = Histogram()
        """Seconds from a job's coming to its reply."""
        self.prepared = Histogram()
        """Seconds from wanting a version to having it ready: pulled, and tried."""
        self.unprepared = 0
        """Attempts that failed."""
        self.checks = {"well": 0, "failed": 0}
        """Of the host, because something made it doubtful."""

    def end(self, code: int, seconds: float) -> None:
        """Count a job."""
        self.ended[code if code in self.ended else OTHER_CODE] += 1
        self.ran.observe(seconds)


class RunsSeen(Struct, frozen=True):
    """How runs in the sandbox went, as of one moment."""

    endings: dict[str, int]
    made_ahead: int
    made_anew: int
    """Containers, by whether they had been made when their job came."""
    setup: Histogram
    """Seconds from a run's beginning to its program's start."""


class Room(Struct, frozen=True):
    """What is left of a disk, as far as the worker may use it."""

    free_bytes: int
    size_bytes: int
    free_files: int
