"""When a refused call is worth another try, and how long to wait before it."""

from msgspec import Struct

from pipeline_client.errors import PipelineError
from pipeline_protocol.status import STATUSES, Retry


class Retries(Struct, frozen=True, kw_only=True):
    """How often to try again what may succeed later (429, 503, 511, 512; 510 once), and how soon.

    Between two tries lie the seconds that the router named, if it did, and a random part of
    `base_s`, doubled with each try up to `most_s`: random, so that a thousand callers that were
    refused together do not come back together. All tries share the call's one deadline.
    """

    attempts: int = 5
    """In all, the first included."""
    base_s: float = 0.5
    most_s: float = 8.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.base_s <= self.most_s:
            raise ValueError(f"needed: attempts >= 1 and 0 <= base_s <= most_s, not {self}")

    def pause_s(self, error: PipelineError, attempt: int, chance: float) -> float | None:
        """Return how long to wait after the n-th try failed; None: it was the last."""
        row = STATUSES.get(error.code)
        attempts = {Retry.NEVER: 1, Retry.ONCE: 2, Retry.LATER: self.attempts}
        if attempt >= min(self.attempts, attempts[row.retry] if row else 1):
            return None
        most_s = min(self.most_s, self.base_s * 2.0 ** min(attempt - 1, 64))
        return (error.retry_after_s or 0.0) + chance * most_s


USUAL = Retries()
"""What a client does unless it is told otherwise."""
