"""Job slots: each job has a thread, and a flag that takes it back."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from pipeline_protocol import status
from pipeline_protocol.codec import decode_reply, refusal
from pipeline_protocol.link import MAX_LINK_BYTES, Job
from pipeline_protocol.settings import Credentials, Settings
from pipeline_worker.events import Event, RunEnded, RunPrinted

_log = logging.getLogger(__name__)


class Assignment(Struct, frozen=True):
    """A job, as whoever performs it sees it."""

    request: bytes
    attempt: int
    queued_s: float
    deadline: float
    """`time.monotonic` seconds."""
    cancelled: threading.Event
    print_line: Callable[[str], None]
    """For whoever waits; dropped where nobody asked for progress."""


Finished = tuple[int, bytes]
"""A reply's code, and the reply."""


class Jobs(Protocol):
    """What does the jobs of a flavour."""

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from the next job on."""

    def perform(self, assignment: Assignment) -> Finished:
        """Do a job; whatever goes wrong with it becomes a reply."""
        ...


class Executor:
    """Runs jobs on threads, and tells the loop when they end."""

    def __init__(self, jobs: Jobs, post: Callable[[Event], None]) -> None:
        self._jobs = jobs
        self._post = post
        self._cancels: dict[tuple[int, int], threading.Event] = {}
        self._threads: set[threading.Thread] = set()

    def start(self, job: Job, body: bytes) -> None:
        """Begin a job."""
        cancelled = threading.Event()
        assignment = Assignment(
            request=body,
            attempt=job.attempt,
            queued_s=job.queued_ms / 1000,
            deadline=time.monotonic() + job.remaining_ms / 1000,
            cancelled=cancelled,
            print_line=lambda line: self._post(
                RunPrinted(job.job, job.attempt, msgspec.json.encode([line]))
            ),
        )
        self._cancels[job.job, job.attempt] = cancelled
        name = f"job-{job.job}-{job.attempt}"
        thread = threading.Thread(target=self._run, args=(job, assignment), name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def cancel(self, job: int, attempt: int) -> None:
        """Take a job back; it ends with a reply all the same."""
        cancelled = self._cancels.get((job, attempt))
        if cancelled is not None:
            cancelled.set()

    def close(self, seconds: float = 5.0) -> None:
        """Cancel everything, and wait a while for it to be cleared away."""
        for cancelled in list(self._cancels.values()):
            cancelled.set()
        until = time.monotonic() + seconds
        for thread in list(self._threads):
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, job: Job, assignment: Assignment) -> None:
        try:
            code, body = self._jobs.perform(assignment)
        except Exception as error:
            _log.exception("job %d failed", job.job)
            code = status.INTERNAL_ERROR
            body = refusal(code, f"{type(error).__name__}: {error}; the worker's log has more")
        if len(body) > MAX_LINK_BYTES // 2:
            code = status.BAD_RESULT
            body = refusal(code, f"the reply has {len(body)} bytes, at most {MAX_LINK_BYTES // 2}")
        self._cancels.pop((job.job, job.attempt), None)
        self._threads.discard(threading.current_thread())
        self._post(RunEnded(job.job, job.attempt, code, body))
        _log_end(job.attempt, code, body)


def _log_end(attempt: int, code: int, body: bytes) -> None:
    """Say how a job ended; only who looks for it is told of one that went well."""
    if code == status.OK:
        _log.debug("attempt %d ended well", attempt)
        return
    known = status.STATUSES.get(code)
    is_ours = known is None or known.blame is status.Blame.PLATFORM
    level = logging.WARNING if is_ours else logging.INFO
    if _log.isEnabledFor(level):
        said = decode_reply(body).status
        _log.log(level, "attempt %d ended with %d: %s", attempt, code, said.error or said.message)
