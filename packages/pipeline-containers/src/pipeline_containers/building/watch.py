"""Looks at a build while it goes on: at what it takes of the disk, and of its memory.

Each is a flag that cancels, for whoever waits for a program; why it was set, it says itself.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.errors import BuildLimitExceeded, ContainersError
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.store.watch import disk_trouble
from pipeline_containers.system.command import CancelFlag
from pipeline_containers.system.disk import folder_use

_TURN_S = 0.2
_LOOKING_SHARE = 0.1
"""Of the time, at most, goes into adding up files."""


def new_entries(*folders: Path) -> Callable[[], list[Path]]:
    """Return what lists the entries of folders that are not there now."""

    def entries() -> Iterator[Path]:
        for folder in folders:
            if folder.is_dir():
                yield from folder.iterdir()

    there = frozenset(entries())
    return lambda: [entry for entry in entries() if entry not in there]


class FreeDiskWatch:
    """Ends a build before the disk is full, whoever filled it; and when somebody cancels."""

    def __init__(self, folder: Path, options: BuildOptions, cancelled: CancelFlag | None) -> None:
        self.failure: ContainersError | None = None
        self._folder = folder
        self._limits = PullLimits(free_bytes=options.free_bytes)
        self._cancelled = cancelled
        self._next = 0.0

    def is_set(self) -> bool:
        """Look, if it is time to; say whether the build must end."""
        if self._cancelled is not None and self._cancelled.is_set():
            return True
        now = time.monotonic()
        if self.failure is None and now >= self._next:
            self._next = now + _TURN_S
            self.failure = disk_trouble(self._folder, self._limits)
        return self.failure is not None


class UseWatch:
    """Ends a program of a build that takes more of the disk than it may.

    `folders` are those that it writes to, `ran_out` says whether it has run out of memory: that is
    remembered, the program has to cope with it.
    """

    def __init__(
        self,
        folders: Callable[[], Iterable[Path]],
        ran_out: Callable[[], bool],
        options: BuildOptions,
        cancelled: CancelFlag | None,
    ) -> None:
        self.failure: ContainersError | None = None
        self.has_run_out = False
        self._folders = folders
        self._ran_out = ran_out
        self._options = options
        self._cancelled = cancelled
        self._next = 0.0

    def is_set(self) -> bool:
        """Look, if it is time to; say whether the program must end."""
        if self._cancelled is not None and self._cancelled.is_set():
            return True
        self.has_run_out = self.has_run_out or self._ran_out()
        began = time.monotonic()
        if self.failure is None and began >= self._next:
            self.failure = self._over()
            took_s = time.monotonic() - began
            self._next = began + max(_TURN_S, took_s / _LOOKING_SHARE)
        return self.failure is not None

    def _over(self) -> ContainersError | None:
        options = self._options
        used = [folder_use(folder) for folder in self._folders()]
        for name, count, most in (
            ("bytes", sum(use.bytes for use in used), options.disk_bytes),
            ("files", sum(use.files for use in used), options.disk_files),
        ):
            if count > most:
                return BuildLimitExceeded(
                    f"the build wrote {count} {name} to the disk, and {most} are allowed: have it "
                    "write less, or remove what it does not keep in the same step"
                )
        return None
