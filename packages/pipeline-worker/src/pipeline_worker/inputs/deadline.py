"""How long a job waits for its input."""

import threading
import time

from pipeline_containers.system.deadline import Deadline, DeadlineErrors


class InputTimedOut(Exception):
    """The job's deadline passed before the input was there."""


class InputCancelled(Exception):
    """Nobody wants the job any more."""


_ERRORS = DeadlineErrors(
    lambda _: InputTimedOut("the deadline passed while the input was fetched"),
    lambda: InputCancelled("cancelled while its input was fetched"),
)


def input_deadline(deadline: float, cancelled: threading.Event) -> Deadline:
    """Wait up to `deadline`, in `time.monotonic` seconds, and for as long as nobody cancels."""
    return Deadline(deadline - time.monotonic(), cancelled, _ERRORS)
