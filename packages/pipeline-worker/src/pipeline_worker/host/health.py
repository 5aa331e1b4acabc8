"""Whether this host can be trusted with jobs: when to prove it, and what follows. No I/O.

A doubt (a run that could not be set up, a container that could not be cleared away) has the host
checked anew, by the sandbox' self-test. It is one check at a time and not more than one a second:
whoever sends bad jobs can cause doubts. Two checks in a row that fail take the worker out of the
pool. It stays connected, says why, and goes on trying, for a full disk may be emptied.
"""

from enum import Enum

from pipeline_protocol import status

DOUBTFUL = frozenset((status.WORKER_FAILED, status.SETUP_FAILED))
"""The codes of jobs that failed for what may be the host's fault."""

FAILURES = 2
"""In a row: a busy machine may fail once."""
PAUSE_S = 1.0
"""Between one check and the next."""
RETRY_S = 30.0
"""The same, once the worker is out of the pool."""


class Verdict(Enum):
    """What a check means for the worker."""

    SAME = "same"
    OUT = "out"
    """It must leave the pool."""
    WELL = "well"
    """It may come back."""


class Health:
    """What is known of this host, and when to look again."""

    def __init__(self) -> None:
        self.trouble = ""
        """Why the worker is out of the pool; empty: it is not."""
        self._is_doubted = False
        self._is_proving = False
        self._failures = 0
        self._not_before = float("-inf")

    def doubt(self) -> None:
        """Take in that something went wrong that may be the host's fault."""
        self._is_doubted = True

    def due(self, now: float) -> bool:
        """Return whether a check is to begin now; it counts as begun then."""
        wanted = self._is_doubted or bool(self.trouble)
        if self._is_proving or not wanted or now < self._not_before:
            return False
        self._is_proving, self._is_doubted = True, False
        return True

    def proved(self, problem: str, now: float) -> Verdict:
        """Take in a check's end; no problem: it went well."""
        self._is_proving = False
        self._not_before = now + PAUSE_S
        if not problem:
            self._failures = 0
            was, self.trouble = self.trouble, ""
            return Verdict.WELL if was else Verdict.SAME
        self._failures += 1
        if self._failures < FAILURES:
            self._is_doubted = True
            return Verdict.SAME
        is_news = not self.trouble
        self.trouble = f"out of the pool: this host failed its check: {problem}"[:1000]
        self._not_before = now + RETRY_S
        return Verdict.OUT if is_news else Verdict.SAME
