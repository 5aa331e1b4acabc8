"""How long a job waits for its input."""

import threading
import time
from concurrent.futures import Future, wait
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")

TURN_S = 0.05
"""How often somebody who waits looks whether to go on."""


class OutOfTime(Exception):
    """The job's deadline passed before the input was there."""


class TakenBack(Exception):
    """Nobody wants the job any more."""


class InputDeadline(Struct, frozen=True):
    """Up to a deadline, `time.monotonic` seconds, and for as long as nobody cancels."""

    deadline: float
    cancelled: threading.Event

    def check(self) -> None:
        """Raise OutOfTime or TakenBack when there is no point in going on."""
        if self.cancelled.is_set():
            raise TakenBack("cancelled while its input was fetched")
        if time.monotonic() >= self.deadline:
            raise OutOfTime("the deadline passed while the input was fetched")

    def wait_for(self, future: "Future[T]") -> T:
        """Wait for a result; what it comes by goes on, whatever is raised here."""
        while not future.done():
            self.check()
            wait([future], timeout=TURN_S)
        return future.result()
