"""The time that is left for all steps of a build together, and the flag that takes it back."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline_containers.errors import BuildCancelled, BuildTimedOut
from pipeline_containers.system.command import CancelFlag

_TURN_S = 0.05


class Deadline:
    """When a build must be over, by the monotonic clock."""

    def __init__(self, timeout_s: float, cancelled: CancelFlag | None = None) -> None:
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s
        self.cancelled = cancelled

    def left_s(self) -> float:
        """Say how much is left; raises when it is none, or the build is not wanted any more."""
        if self.cancelled is not None and self.cancelled.is_set():
            raise BuildCancelled("the build was cancelled")
        left = self._end - time.monotonic()
        if left <= 0:
            raise BuildTimedOut(f"the build took longer than {self._timeout_s:g} s")
        return left

    @contextmanager
    def locked(self, file: Path, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
        """Hold a file's lock; others may be at work, so that waiting for it takes its time too."""
        with file.open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, kind | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(min(_TURN_S, self.left_s()))
            yield
