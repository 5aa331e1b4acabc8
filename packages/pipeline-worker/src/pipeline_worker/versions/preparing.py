"""One version on its way to being ready, and what is told of it meanwhile."""

import threading
from collections.abc import Callable

from pipeline_containers.errors import ContainersError, SandboxError
from pipeline_containers.store.progress import PullProgress
from pipeline_protocol.link import PreparingPhase, Readiness, VersionState
from pipeline_protocol.settings import WantedVersion
from pipeline_protocol.text import clean
from pipeline_worker.events import Event, VersionMoved

_REASON_CHARACTERS = 1000


class PreparingVersion:
    """A version that is being prepared, once. Whoever does not want it any more cancels it."""

    def __init__(self, wanted: WantedVersion, post: Callable[[Event], None]) -> None:
        self.wanted = wanted
        self.key = (wanted.track, wanted.version)
        self.cancelled = threading.Event()
        self._post = post

    def __str__(self) -> str:
        return f"{self.wanted.track} {self.wanted.version}"

    def begun(self) -> None:
        """Tell that it has waited long enough."""
        self._tell(PreparingPhase.PULLING, 0)

    def pulling(self, progress: PullProgress) -> None:
        """Tell how much has arrived; the whole only when it is proved."""
        self._tell(PreparingPhase.PULLING, min(progress.percent, 99))

    def checking(self) -> None:
        """Tell that it is being tried."""
        self._tell(PreparingPhase.CHECKING, 99)

    def ready(self, digest: str) -> None:
        """Tell that jobs can have it."""
        state = VersionState(*self.key, Readiness.READY, digest=digest, percent=100)
        self._post(VersionMoved(state))

    def failed(self, reason: str) -> None:
        """Tell why jobs cannot have it."""
        state = VersionState(*self.key, Readiness.FAILED, reason=reason)
        self._post(VersionMoved(state))

    def _tell(self, phase: PreparingPhase, percent: int) -> None:
        if not self.cancelled.is_set():
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
    return clean(reason)[:_REASON_CHARACTERS]
