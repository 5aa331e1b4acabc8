"""Who is alive: the workers that said hello, by connection and by identity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.link import PROTOCOL, Hello, Readiness, Refusal, Refused, VersionState

if TYPE_CHECKING:
    from pipeline_router.scheduler import Lane, Pool
    from pipeline_router.work import Orphan, Work


class Worker:
    """A worker in session.

    `running` is the only account of its slots: (job, attempt) to the request that it runs for; to
    an orphan; or to None where nobody waits for it any more, but the slot is not given back yet.
    """

    __slots__ = (
        "alone",
        "channel",
        "draining",
        "failed",
        "heard",
        "host",
        "identity",
        "instance",
        "last_used",
        "listed",
        "load",
        "peer",
        "pool",
        "reserved",
        "restarting",
        "running",
        "slots",
        "topics",
        "trouble",
        "versions",
    )

    def __init__(self, peer: bytes, hello: Hello, now: float) -> None:
        self.peer = peer
        self.identity = hello.identity
        self.instance = hello.instance
        self.channel = hello.channel
        self.topics = frozenset(hello.topics)
        self.slots = hello.slots
        self.heard = now
        self.load = 0.0
        self.trouble = hello.trouble
        """Why it takes no jobs, if it is its host that is not well."""
        self.host = hello.host
        self.versions: dict[tuple[str, str], VersionState] = {}
        self.running: dict[tuple[int, int], Work | Orphan | None] = {}
        self.alone = False
        """Runs a suspect: nothing else until that has ended."""
        self.reserved: Work | None = None
        """A suspect that is to run as soon as nothing else does."""
        self.draining = False
        self.restarting = False
        self.last_used = 0
        self.pool: Pool | None = None
        self.listed = False
        """Whether its pool's heap has an entry for it."""
        self.failed: frozenset[Lane] = frozenset()

    @property
    def room(self) -> bool:
        """Whether it can be sent another job now."""
        return len(self.running) < self.slots and self.reserved is None and not self.alone

    def __str__(self) -> str:
        return f"worker {self.identity}"

    def __lt__(self, other: Worker) -> bool:
        return self.identity < other.identity

    def learn(self, state: VersionState, wanted_digest: str | None) -> VersionState:
        """Take in how far it is with a version; ready with another digest than wanted is failed."""
        if (
            state.state is Readiness.READY
            and wanted_digest is not None
            and state.digest not in (None, wanted_digest)
        ):
            reason = f"its digest is {state.digest}, {wanted_digest} is wanted"
            state = VersionState(state.track, state.version, Readiness.FAILED, None, reason)
        if state.state is Readiness.REMOVED:
            self.versions.pop((state.track, state.version), None)
        else:
            self.versions[state.track, state.version] = state
        return state


class Presence:
    """Every worker in session."""

    def __init__(self) -> None:
        self._by_peer: dict[bytes, Worker] = {}
        self._by_identity: dict[str, Worker] = {}

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

    def remove(self, worker: Worker) -> None:
        """End its session."""
        del self._by_peer[worker.peer]
        del self._by_identity[worker.identity]

    def silent(self, since: float) -> list[Worker]:
        """Return the workers that were last heard of before then."""
        return [worker for worker in self if worker.heard < since]

    def excuse(self, now: float) -> None:
        """Hold nobody's silence against them: it was the router that slept."""
        for worker in self:
            worker.heard = now


def objection(hello: Hello) -> Refused | None:
    """Return why a worker that says so cannot be let in, whoever else is there."""
    if hello.protocol != PROTOCOL:
        error = f"this router speaks protocol {PROTOCOL}, the worker {hello.protocol}: update it"
        return Refused(Refusal.PROTOCOL, error)
    channel = CHANNELS.get(hello.channel)
    if channel is None:
        known = ", ".join(CHANNELS)
        error = f"unknown channel {hello.channel!r}; channels are {known}"
        return Refused(Refusal.UNKNOWN_CHANNEL, error)
    if hello.topics and not channel.scopable:
        error = f"{hello.channel} serve all tracks: topics are not for them"
        return Refused(Refusal.TOPICS_ON_BUILDERS, error)
    return None
