"""What the router knows of requests and workers, and in which collection each of them is.

A request that workers serve is a `Work`. From its acceptance to its answer it is in
`Inflight.works`; besides, by its state:

    state      is in                                        leaves it by
    WAITING    its owner's `Share`; counted by its lane     `Scheduler.remove`: given to a worker,
               and the `Scheduler`                          cancelled, or its deadline passed
    RESERVED   `Worker.reserved`, no lane: a suspect,       the worker has nothing else to run, or
               whose worker was lost before                 is lost
    RUNNING    `Worker.running[job, attempt]`, no lane      its result, or the loss of its worker
    answered   the `ReplyCache`, as bytes                   time, or the room that replies have

`Worker.running` may also hold an `Orphan`, which nobody has asked this router for yet, or None:
a slot that is not given back yet, of a request that is over.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum, auto
from heapq import heappop, heappush, heapreplace

from msgspec import Struct

from pipeline_protocol.link import Hello, Readiness, VersionState
from pipeline_protocol.monitor.histogram import Histogram
from pipeline_router.events import Envelope
from pipeline_router.principals import Sender, is_same

MAX_ENVELOPES = 8
"""How many senders of the same request are answered: the first ones, whom nobody pushes out."""

Name = tuple[str, str, str]
"""Owner, action and id: what a client calls a request."""


class Inquiry(Struct, frozen=True):
    """Which digest a version has: asked of a builder, who asks the registry."""

    channel: str
    track: str
    version: str


class State(Enum):
    """Where a request is."""

    WAITING = auto()
    """In a queue, or about to be."""
    RESERVED = auto()
    """A suspect, next on a worker that first finishes what it runs."""
    RUNNING = auto()
    """On a worker."""


class Work(Struct, eq=False):
    """A request that a worker is to serve.

    `attempt` grows with every sending and fences results; `lost` counts only the sendings that a
    worker was lost with. Times are seconds of the core's clock.
    """

    job: int
    lane: Lane
    envelopes: list[Envelope]
    body: bytes
    accepted: float
    deadline: float
    key: bytes = b""
    answered: dict[int, int] = {}
    """Where its answer is counted, by its code."""
    owner: str = ""
    """Who asked: a connection, or with keys whose key it is; work is taken in turn by it."""
    name: Name | None = None
    rank: int = 1
    """Its place among the `RANKS`."""
    progress: bool = False
    attempt: int = 0
    sent: float | None = None
    """When its latest attempt was sent; None: it was not, or by an earlier router."""
    lost: int = 0
    alone: bool = False
    order: int = 0
    state: State = State.WAITING
    worker: Worker | None = None
    quota: int | None = None
    """How many requests its owner may have in flight, if that is bounded."""
    inquiry: Inquiry | None = None
    """What the router itself wants to know by it; then nobody else is answered."""
    earlier: tuple[tuple[int, Process], ...] = ()
    """Attempts that others may still bring to an end, and whose they are. Nobody else's result
    counts."""

    def is_of(self, worker: Worker, attempt: int) -> bool:
        """Whether an earlier attempt was this worker's."""
        return (attempt, worker.process) in self.earlier

    def lend(self, worker: Worker, attempt: int) -> None:
        """Let a worker that is lost bring its attempt to an end yet."""
        if not self.is_of(worker, attempt):
            self.earlier += ((attempt, worker.process),)

    def attach(self, envelope: Envelope) -> bool:
        """Answer this sender of the same request too; False if too many wait for it already."""
        if envelope in self.envelopes:
            return True
        if len(self.envelopes) >= MAX_ENVELOPES:
            return False
        self.envelopes.append(envelope)
        return True

    def retry(self) -> None:
        """Go first among the work of the same priority when it next waits."""
        self.state = State.WAITING
        self.worker = None
        self.rank = RETRIED[self.rank]


RANKS = 4
RANK_NAMES = ("interactive_again", "interactive", "background_again", "background")
"""How people are told them."""
INTERACTIVE, BACKGROUND = 1, 3
"""What goes first among the work that waits: retried work before other work of its priority."""
RETRIED = (0, 0, 2, 2)
"""Rank to the rank of the same work when it is retried."""


Process = tuple[str, str, str]
"""A worker's process, on whichever connection: its identity, its instance, and the key it has."""


class Orphan(Struct, frozen=True, eq=False):
    """A job that an earlier router sent, and that nobody has asked this one for yet."""

    worker: Worker
    key: bytes
    job: int
    attempt: int


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
        "keeps",
        "last_used",
        "listed",
        "load",
        "peer",
        "pool",
        "reserved",
        "restarting",
        "running",
        "sender",
        "slots",
        "topics",
        "trouble",
        "versions",
    )

    def __init__(self, peer: bytes, hello: Hello, now: float, sender: Sender = None) -> None:
        self.peer = peer
        self.sender = sender
        """Whose key it has shown."""
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
        self.keeps = ""
        """Why it keeps images that are not wanted, as its heartbeats say."""
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
    def process(self) -> Process:
        """What tells this process from every other that calls itself the same."""
        return process_of(self.identity, self.instance, self.sender)

    def is_with(self, sender: Sender) -> bool:
        """Whether a message of that sender's may be this worker's."""
        return is_same(self.sender, sender)

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


def process_of(identity: str, instance: str, sender: Sender) -> Process:
    """Return what tells a process from every other that calls itself the same."""
    return (identity, instance, "" if sender is None else sender.key)


class Lane:
    """The jobs of one version of one track's tool; a channel without versions has one lane."""

    __slots__ = (
        "channel",
        "failed",
        "generic",
        "queued",
        "ran",
        "scoped",
        "stranded_since",
        "track",
        "version",
        "waiting",
    )

    def __init__(
        self,
        channel: str,
        track: str,
        version: str,
        queued: tuple[Histogram, ...],
        ran: tuple[Histogram, ...],
    ) -> None:
        self.channel = channel
        self.queued = queued
        self.ran = ran
        """Its channel's cells, by rank: here, they are at hand where each job passes."""
        self.track = track
        self.version = version
        self.waiting = 0
        """How many jobs wait; they are in their owners' shares."""
        self.scoped: list[Pool] = []
        self.generic: list[Pool] = []
        self.failed: set[Worker] = set()
        """Workers that serve the track, but could not prepare the version."""
        self.stranded_since: float | None = None
        """Since when jobs wait here without any worker that could ever take them."""

    @property
    def ready(self) -> int:
        """How many workers have the version ready."""
        return sum(len(pool.workers) for pools in (self.scoped, self.generic) for pool in pools)


class Share:
    """What waits of one owner in a channel."""

    __slots__ = ("bytes", "count", "owner", "waiting")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.count = 0
        self.bytes = 0
        """Of the requests."""
        self.waiting: tuple[dict[Lane, OrderedDict[int, Work]], ...] = tuple(
            {} for _ in range(RANKS)
        )
        """By rank, then by lane, then by order of arrival; no lane is empty."""

    def put(self, work: Work) -> None:
        """Count a job that waits."""
        self.waiting[work.rank].setdefault(work.lane, OrderedDict())[work.order] = work
        self.count += 1
        self.bytes += len(work.body)

    def remove(self, work: Work) -> None:
        """Count it no more."""
        lanes = self.waiting[work.rank]
        del lanes[work.lane][work.order]
        if not lanes[work.lane]:
            del lanes[work.lane]
        self.count -= 1
        self.bytes -= len(work.body)

    def first(self, rank: int, lanes: frozenset[Lane]) -> Work | None:
        """Return its earliest job of a rank in any of some lanes."""
        best = None
        for lane, queue in self.waiting[rank].items():
            if lane in lanes:
                order = next(iter(queue))
                if best is None or order < best.order:
                    best = queue[order]
        return best

    def of(self, lane: Lane) -> Iterator[Work]:
        """Go through its jobs in a lane, by rank, then by order of arrival."""
        for lanes in self.waiting:
            if lane in lanes:
                yield from lanes[lane].values()

    def latest_first(self) -> Iterator[Work]:
        """Go through its jobs, that first which would be served last."""
        for lanes in reversed(self.waiting):
            works = [work for queue in lanes.values() for work in queue.values()]
            yield from sorted(works, key=lambda work: work.order, reverse=True)


MAX_SERVED = 1024
"""Owners whose last turn a pool remembers, before it forgets who is as good as new."""


class Pool:
    """Workers, all scoped or all generic, that have the same versions ready.

    Their waiting jobs of one rank are taken in turn by owner: first whose last turn was the
    earliest. Each pool has its own account of turns, for what is served elsewhere is no
    competition. Who begins to wait stands as if its last turn was that before the latest, so that
    it comes before whoever just had one, and pushes back nobody who has waited since.
    """

    __slots__ = (
        "_listings",
        "free",
        "heads",
        "key",
        "lanes",
        "listed",
        "most_served",
        "served",
        "turn",
        "workers",
    )

    def __init__(self, key: tuple[bool, frozenset[Lane]]) -> None:
        self.key = key
        self.lanes = key[1]
        self.workers: set[Worker] = set()
        self.free: list[tuple[int, Worker]] = []
        self.heads: tuple[list[tuple[int, int, Share]], ...] = tuple([] for _ in range(RANKS))
        """By rank, a heap: last turn, a number that tells equals apart, whose jobs wait."""
        self.listed: tuple[set[Share], ...] = tuple(set() for _ in range(RANKS))
        self.turn = 0
        """Counts the jobs that its workers were given."""
        self.served: dict[str, int] = {}
        """Owner to its last turn."""
        self.most_served = MAX_SERVED
        """Of more, those for whom nothing waits are forgotten."""
        self._listings = 0

    def first_free(self) -> Worker | None:
        """Return the least recently used worker with room."""
        free = self.free
        while free:
            used, worker = free[0]
            if worker.pool is not self:
                heappop(free)
            elif not worker.room:
                heappop(free)
                worker.listed = False
            elif used != worker.last_used:
                heapreplace(free, (worker.last_used, worker))
            else:
                return worker
        return None

    def list_worker(self, worker: Worker) -> None:
        """Have a worker with room found."""
        if not worker.listed:
            worker.listed = True
            heappush(self.free, (worker.last_used, worker))

    def list_share(self, share: Share, rank: int) -> None:
        """Have an owner with waiting jobs of that rank found."""
        if share not in self.listed[rank]:
            self.listed[rank].add(share)
            self._listings += 1
            last = max(self.served.get(share.owner, 0), self.turn - 1)
            heappush(self.heads[rank], (last, self._listings, share))

    def forget_turns(self) -> None:
        """Forget the turns of all for whom nothing waits: a while later they count for nothing."""
        waiting = {share.owner for shares in self.listed for share in shares}
        self.served = {who: turn for who, turn in self.served.items() if who in waiting}
        self.most_served = max(MAX_SERVED, 2 * len(self.served))

    def first_waiting(self) -> Work | None:
        """Return the waiting job that comes first: by rank, then by turn of its owner."""
        for rank, heads in enumerate(self.heads):
            while heads:
                last, number, share = heads[0]
                work = share.first(rank, self.lanes)
                if work is None:
                    heappop(heads)
                    self.listed[rank].discard(share)
                elif (served := self.served.get(share.owner, 0)) > last:
                    heapreplace(heads, (served, number, share))
                else:
                    return work
        return None
