"""Who is alive: the workers that said hello, by connection and by identity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.link import PROTOCOL, Hello, RefusalReason, Refused, mismatch
from pipeline_router.model import Worker
from pipeline_router.principals import Sender
from pipeline_router.roles import why_not_serve

MAX_MISSING = 1000
"""Lost workers that are remembered; of more the longest lost are forgotten."""


class Missing(Struct, frozen=True):
    """A worker that was lost and has not come back."""

    worker: Worker
    since: float
    why: str


class Presence:
    """Every worker in session, and those that are missing."""

    def __init__(self) -> None:
        self._by_peer: dict[bytes, Worker] = {}
        self._by_identity: dict[str, Worker] = {}
        self.missing: dict[str, Missing] = {}
        """By identity, longest lost first."""

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._by_peer.values())

    def __len__(self) -> int:
        return len(self._by_peer)

    def at(self, peer: bytes) -> Worker | None:
        """Return the worker in session on that connection."""
        return self._by_peer.get(peer)

    def called(self, identity: str) -> Worker | None:
        """Return the worker in session under that name."""
        return self._by_identity.get(identity)

    def identities(self) -> Iterable[str]:
        """Return all names in use."""
        return self._by_identity.keys()

    def add(self, worker: Worker) -> None:
        """Begin its session."""
        self._by_peer[worker.peer] = worker
        self._by_identity[worker.identity] = worker
        self.missing.pop(worker.identity, None)

    def miss(self, worker: Worker, why: str, now: float) -> None:
        """Remember a worker that was lost."""
        self.missing[worker.identity] = Missing(worker, now, why)
        if len(self.missing) > MAX_MISSING:
            del self.missing[next(iter(self.missing))]

    def dismiss(self, identity: str) -> bool:
        """Miss a worker no longer; False if it is not missing."""
        return self.missing.pop(identity, None) is not None

    def remove(self, worker: Worker) -> None:
        """End its session."""
        del self._by_peer[worker.peer]
        del self._by_identity[worker.identity]

    def silent(self, since: float) -> list[Worker]:
        """Return the workers that were last heard of before then."""
        return [worker for worker in self if worker.heard < since]

    def forgive_silence(self, now: float) -> None:
        """Hold nobody's silence against them: it was the router that slept."""
        for worker in self:
            worker.heard = now


def check_hello(hello: Hello, sender: Sender = None) -> Refused | None:
    """Return why a worker that says so cannot be let in, whoever else is there."""
    if hello.protocol != PROTOCOL:
        return Refused(RefusalReason.PROTOCOL, mismatch(PROTOCOL, hello.protocol))
    channel = CHANNELS.get(hello.channel)
    if channel is None:
        known = ", ".join(CHANNELS)
        error = f"unknown channel {hello.channel!r}; channels are {known}"
        return Refused(RefusalReason.UNKNOWN_CHANNEL, error)
    if hello.topics and not channel.scopable:
        error = f"{hello.channel} serve all tracks: topics are not for them"
        return Refused(RefusalReason.TOPICS_ON_BUILDERS, error)
    error = why_not_serve(sender, hello.identity, hello.channel)
    return Refused(RefusalReason.ROLE, error) if error else None
