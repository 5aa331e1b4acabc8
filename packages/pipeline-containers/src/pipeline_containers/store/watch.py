"""A look at a copy while it is made: what has arrived, what it does to the disk, whether it stalls.

skopeo says nothing of its progress without a terminal. But the blobs that arrive grow in a folder
of this copy's own until they are unpacked, each by a child process in a root of its own; and what
that has written, the kernel counts. Source: proc(5), on `/proc/PID/io` and `.../children`.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from pipeline_containers.errors import ContainersError, RegistryError, StoreError
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.system.command import CancelFlag, OnStart

_TURN_S = 0.1
_SLACK_BYTES = 1024 * 1024
"""What may lie in the folder beside the layers: the configuration, what is not yet counted."""
_UNPACKS = b"storage-"
"""How the name begins under which skopeo starts itself to unpack a layer."""


class CopyWatch:
    """Looks at one copy, from the thread that waits for it; ends it with a reason.

    `announced_bytes` is what has to arrive, `unpacked_bytes` what lies unpacked already.
    """

    def __init__(
        self,
        folder: Path,
        limits: PullLimits,
        announced_bytes: int,
        unpacked_bytes: int,
        on_bytes: Callable[[int], None],
        cancelled: CancelFlag | None,
        on_start: OnStart | None,
    ) -> None:
        self.folder = folder
        self.failure: ContainersError | None = None
        self._limits = limits
        self._announced_bytes = announced_bytes
        self._here_bytes = unpacked_bytes
        self._on_bytes = on_bytes
        self._cancelled = cancelled
        self._on_start = on_start
        self._pid: int | None = None
        self._arrived_bytes = 0
        self._unpacked: dict[str, int] = {}
        self._looked = 0.0
        self._moved = time.monotonic()

    def started(self, pid: int) -> None:
        """Be told which process copies."""
        self._pid = pid
        self._moved = time.monotonic()
        if self._on_start is not None:
            self._on_start(pid)

    def is_set(self) -> bool:
        """Look, if it is time to; say whether the copy must end."""
        if self._cancelled is not None and self._cancelled.is_set():
            return True
        now = time.monotonic()
        if self.failure is None and now - self._looked >= _TURN_S:
            self._looked = now
            self.failure = self._trouble(now)
        return self.failure is not None

    def _trouble(self, now: float) -> ContainersError | None:
        arrived = _size(self.folder)
        unpacked = self._count_unpacked()
        if arrived != self._arrived_bytes or unpacked:
            self._moved = now
        if arrived != self._arrived_bytes:
            self._arrived_bytes = arrived
            self._on_bytes(min(arrived, self._announced_bytes))
        if arrived > self._announced_bytes + _SLACK_BYTES:
            return RegistryError(
                f"it sends more than the {self._announced_bytes} bytes that it announced"
            )
        if self._here_bytes + sum(self._unpacked.values()) > self._limits.unpacked_bytes:
            return too_large(self._limits)
        if now - self._moved > self._limits.stall_s and arrived < self._announced_bytes:
            return RegistryError(
                f"nothing came for {self._limits.stall_s:g} s, after {arrived} bytes of "
                f"{self._announced_bytes}; check that it is up, and that there is a way to it",
                passing=True,
            )
        return disk_trouble(self.folder, self._limits)

    def _count_unpacked(self) -> bool:
        """Count what each process that unpacks has written; whether that was more than before."""
        moved = False
        for child in _children(self._pid):
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has just ended
                if not Path(f"/proc/{child}/cmdline").read_bytes().startswith(_UNPACKS):
                    continue
                counted = int(Path(f"/proc/{child}/io").read_text().split()[3])  # wchar
                moved |= counted != self._unpacked.get(child)
                self._unpacked[child] = counted
        return moved


def too_large(limits: PullLimits) -> RegistryError:
    """Say that an image is too large, unpacked."""
    return RegistryError(
        f"the image unpacks to more than {limits.unpacked_bytes} bytes, which are allowed: "
        "make it smaller"
    )


def disk_trouble(folder: Path, limits: PullLimits, need_bytes: int = 0) -> StoreError | None:
    """Return what is wrong if the disk has less room than is needed, and than must stay free."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < need_bytes + limits.free_bytes:
        return disk_full(folder, need_bytes + limits.free_bytes)
    if disk.f_files and disk.f_favail < limits.free_files:
        return StoreError(
            f"the disk of {folder} is full: it takes {disk.f_favail} files more, and "
            f"{limits.free_files} must stay free; unload versions, or make room"
        )
    return None


def disk_full(folder: Path, need_bytes: int) -> StoreError:
    """Say that the disk is full, or was, and how much room there must be at least."""
    disk = os.statvfs(folder)
    return StoreError(
        f"the disk of {folder} is full: {disk.f_bavail * disk.f_frsize} bytes are free now, and "
        f"more than {need_bytes} are needed; unload versions, or make room"
    )


def _size(folder: Path) -> int:
    """Add up the blobs: files in a folder of skopeo's, in its home, in this one."""
    total = 0
    for parent, _, files in os.walk(folder):  # of what goes meanwhile, it says nothing
        if len(Path(parent).relative_to(folder).parts) == 2:
            for name in files:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _children(pid: int | None) -> list[str]:
    """List a process' children, whichever thread of it began them."""
    found: list[str] = []
    with contextlib.suppress(OSError):  # it ends when it likes
        for task in os.listdir(f"/proc/{pid}/task"):
            found += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    return found
