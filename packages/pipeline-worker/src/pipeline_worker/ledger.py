"""The jobs that a worker runs, and the results that it holds until the router has them."""

from msgspec import Struct

from pipeline_protocol.link import HeldJob, Job

HELD_S = 300.0
"""How long a result is held for a router that does not come back."""
HELD_BYTES = 64 << 20

Key = tuple[int, int]
"""Job and attempt."""


class Running(Struct):
    """A job in a slot."""

    key: bytes
    deadline: float
    began: float


class HeldReply(Struct):
    """A finished reply."""

    key: bytes
    deadline: float
    code: int
    body: bytes
    since: float


class Ledger:
    """What must not be lost while the router is away."""

    def __init__(self) -> None:
        self.running: dict[Key, Running] = {}
        self.held: dict[Key, HeldReply] = {}
        self._held_bytes = 0

    def start(self, job: Job, now: float) -> bool:
        """Note a job as running; False if it runs already."""
        key = (job.job, job.attempt)
        if key in self.running:
            return False
        self.running[key] = Running(job.key, now + job.remaining_ms / 1000, now)
        return True

    def finish(self, job: int, attempt: int, code: int, body: bytes, now: float) -> None:
        """Hold a job's reply; of what is held, the oldest goes when there is too much."""
        key = (job, attempt)
        was = self.running.pop(key)
        self.held[key] = HeldReply(was.key, was.deadline, code, body, now)
        self._held_bytes += len(body)
        for oldest, held in list(self.held.items()):
            if self._held_bytes <= HELD_BYTES and now - held.since <= HELD_S:
                break
            self.acknowledge(*oldest)

    def acknowledge(self, job: int, attempt: int) -> None:
        """Forget a reply that the router has."""
        held = self.held.pop((job, attempt), None)
        if held is not None:
            self._held_bytes -= len(held.body)

    def jobs(self, now: float) -> tuple[HeldJob, ...]:
        """Return all of it, for a hello."""
        return tuple(
            HeldJob(one.key, job, attempt, max(0, int((one.deadline - now) * 1000)), done)
            for done, some in ((False, self.running), (True, self.held))
            for (job, attempt), one in some.items()
        )
