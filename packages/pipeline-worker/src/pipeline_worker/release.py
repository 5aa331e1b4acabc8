"""One version on its way to being ready, and what is told of it meanwhile."""

import threading
import time
from collections.abc import Callable

from pipeline_containers.errors import ContainersError, SandboxError
from pipeline_containers.images.progress import PullProgress
from pipeline_protocol.link import Readiness, VersionState
from pipeline_protocol.settings import WantedVersion
from pipeline_worker.events import Event, VersionMoved

REPORT_S = 0.5
"""Between one report of a version's progress and the next, within a phase."""
_REASON_CHARACTERS = 1000


class Meter:
    """Says which progress is worth a report: it never goes back, and is not told all the time."""

    def __init__(self) -> None:
        self._phase = ""
        self._percent = -1
        self._told_at = float("-inf")

    def is_news(self, phase: str, percent: int, now: float) -> bool:
        """Take in how far it is; whether that is to be told."""
        if phase == self._phase and (percent <= self._percent or now - self._told_at < REPORT_S):
            return False
        self._percent = max(percent, self._percent)
        self._phase, self._told_at = phase, now
        return True


class Release:
    """A version that is being prepared, once. Whoever does not want it any more cancels it."""

    def __init__(self, wanted: WantedVersion, post: Callable[[Event], None]) -> None:
        self.wanted = wanted
        self.key = (wanted.track, wanted.version)
        self.cancelled = threading.Event()
        self._post = post
        self._meter = Meter()

    def __str__(self) -> str:
        return f"{self.wanted.track} {self.wanted.version}"

    def pulling(self, progress: PullProgress) -> None:
        """Tell how much has arrived; the whole only when it is proved."""
        self._tell("pulling", min(progress.percent, 99))

    def proving(self) -> None:
        """Tell that it is being tried."""
        self._tell("proving", 99)

    def ready(self, digest: str) -> None:
        """Tell that jobs can have it."""
        state = VersionState(*self.key, Readiness.READY, digest=digest, percent=100)
        self._post(VersionMoved(state))

    def failed(self, reason: str) -> None:
        """Tell why jobs cannot have it."""
        state = VersionState(*self.key, Readiness.FAILED, reason=reason)
        self._post(VersionMoved(state))

    def _tell(self, phase: str, percent: int) -> None:
        if not self.cancelled.is_set() and self._meter.is_news(phase, percent, time.monotonic()):
            state = VersionState(*self.key, Readiness.PREPARING, percent=percent, phase=phase)
            self._post(VersionMoved(state))


def explain(error: Exception) -> str:
    """Say in words that an operator understands why a version is not ready."""
    match error:
        case SandboxError():
            reason = f"it could not be tried on this host: {error}"
        case ContainersError():
            reason = str(error)
        case OSError():
            reason = f"this worker's disk: {error}"
        case _:
            reason = f"{error!r}; the worker's log has more"
    return reason[:_REASON_CHARACTERS]
