"""The time that is left for several steps together, and the flag that cancels them."""

import fcntl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline_containers.errors import BuildCancelled, BuildTimedOut
from pipeline_containers.system.command import CancelFlag

T = TypeVar("T")

TURN_S = 0.05
"""How often somebody who waits looks whether to go on."""


@dataclass(frozen=True, slots=True)
class DeadlineErrors:
    """What is raised when a deadline has passed, and when somebody cancelled."""

    passed: Callable[[float], Exception]
    """Given how long it might take, in seconds."""
    cancelled: Callable[[], Exception]


BUILD_ERRORS = DeadlineErrors(
    lambda timeout_s: BuildTimedOut(f"the build took longer than {timeout_s:g} s"),
    lambda: BuildCancelled("the build was cancelled"),
)


class Deadline:
    """When all steps must be over, by the monotonic clock, and for as long as nobody cancels.

    Every method that waits or looks raises an error of `errors` when there is no time left, or
    when `cancelled` is set.
    """

    def __init__(
        self,
        timeout_s: float,
        cancelled: CancelFlag | None = None,
        errors: DeadlineErrors = BUILD_ERRORS,
    ) -> None:
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s
        self._errors = errors
        self.cancelled = cancelled

    def left_s(self) -> float:
        """Return how much time is left, in seconds, more than none."""
        if self.cancelled is not None and self.cancelled.is_set():
            raise self._errors.cancelled()
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._errors.passed(self._timeout_s)
        return left

    def pause(self, pause_s: float) -> None:
        """Wait for so many seconds."""
        until = time.monotonic() + pause_s
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(TURN_S, left, self.left_s()))

    def wait_for(self, future: "Future[T]") -> T:
        """Return a future's result; what it comes by goes on, whatever is raised here."""
        while not future.done():
            self.left_s()
            wait([future], timeout=TURN_S)
        return future.result()

    @contextmanager
    def locked(self, file: Path, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
        """Hold a file's lock; others may be at work, so that waiting for it takes its time too."""
        with file.open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, kind | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(min(TURN_S, self.left_s()))
            yield
