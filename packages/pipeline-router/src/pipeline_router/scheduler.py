"""Who gets the next job: one channel's workers, and the jobs that wait for them.

Neither a job nor a freed slot looks at every worker or every waiting job. Workers that have the
same versions ready form a *pool*; the jobs that need one version of one track's tool form a
*lane*. A lane knows the few pools that can take its jobs; a pool keeps one heap of its workers
with room, least recently used first, and one a rank of its lanes, earliest job first. Entries of
the heaps are put right only when they come to the top: a worker's last use and a lane's first
job only ever grow, so that what is out of date comes up too early, never too late.
"""

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace

from pipeline_protocol.link import Readiness
from pipeline_router.presence import Worker
from pipeline_router.work import RANKS, Work


class Lane:
    """The jobs of one version of one track's tool; a channel without versions has one lane."""

    __slots__ = (
        "channel",
        "failed",
        "generic",
        "scoped",
        "stranded_since",
        "track",
        "version",
        "waiting",
    )

    def __init__(self, channel: str, track: str, version: str) -> None:
        self.channel = channel
        self.track = track
        self.version = version
        self.waiting: tuple[OrderedDict[int, Work], ...] = tuple(
            OrderedDict() for _ in range(RANKS)
        )
        """By rank, then by order of arrival."""
        self.scoped: list[Pool] = []
        self.generic: list[Pool] = []
        self.failed: set[Worker] = set()
        """Workers that serve the track, but could not prepare the version."""
        self.stranded_since: float | None = None
        """Since when jobs wait here without any worker that could ever take them."""

    def __iter__(self) -> Iterator[Work]:
        for queue in self.waiting:
            yield from queue.values()

    def __bool__(self) -> bool:
        return any(self.waiting)

    @property
    def ready(self) -> int:
        """How many workers have the version ready."""
        return sum(len(pool.workers) for pools in (self.scoped, self.generic) for pool in pools)


class Pool:
    """Workers, all scoped or all generic, that have the same versions ready."""

    __slots__ = ("free", "heads", "key", "lanes", "listed", "workers")

    def __init__(self, key: tuple[bool, frozenset[Lane]]) -> None:
        self.key = key
        self.lanes = key[1]
        self.workers: set[Worker] = set()
        self.free: list[tuple[int, Worker]] = []
        self.heads: tuple[list[tuple[int, Lane]], ...] = tuple([] for _ in range(RANKS))
        self.listed: tuple[set[Lane], ...] = tuple(set() for _ in range(RANKS))

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

    def list_lane(self, lane: Lane, rank: int) -> None:
        """Have a lane with waiting jobs of that rank found."""
        if lane not in self.listed[rank]:
            self.listed[rank].add(lane)
            heappush(self.heads[rank], (next(iter(lane.waiting[rank])), lane))

    def first_waiting(self) -> Work | None:
        """Return the waiting job that comes first among all lanes."""
        for rank, heads in enumerate(self.heads):
            while heads:
                order, lane = heads[0]
                queue = lane.waiting[rank]
                if not queue:
                    heappop(heads)
                    self.listed[rank].discard(lane)
                    continue
                first = next(iter(queue))
                if first == order:
                    return queue[first]
                heapreplace(heads, (first, lane))
        return None


class Scheduler:
    """One channel's lanes and pools."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.count = 0
        """Of the waiting jobs."""
        self.bytes = 0
        """Of the waiting jobs' requests."""
        self.workers: set[Worker] = set()
        """All that are to be given jobs, now or when they are ready."""
        self._pools: dict[tuple[bool, frozenset[Lane]], Pool] = {}
        self._generic: set[Worker] = set()
        self._scoped: dict[str, set[Worker]] = {}
        self._arrivals = 0
        self._uses = 0

    # --- workers

    def join(self, worker: Worker) -> None:
        """Let a worker have jobs, as soon as it has something ready."""
        self.workers.add(worker)
        for workers in self._groups(worker):
            workers.add(worker)
        self.refit(worker)

    def leave(self, worker: Worker) -> None:
        """Give a worker no more jobs."""
        if worker not in self.workers:
            return
        self.workers.discard(worker)
        for workers in self._groups(worker):
            workers.discard(worker)
        for topic in worker.topics:
            if not self._scoped[topic]:
                del self._scoped[topic]
        self._move(worker, None)
        for lane in worker.failed:
            lane.failed.discard(worker)
        worker.failed = frozenset()

    def refit(self, worker: Worker) -> None:
        """Put a worker into the pool that its ready versions ask for."""
        if worker not in self.workers:
            return
        for lane in worker.failed:
            lane.failed.discard(worker)
        ready, failed = self._fitness(worker)
        worker.failed = failed
        for lane in failed:
            lane.failed.add(worker)
        key = (bool(worker.topics), ready)
        if not ready or worker.restarting:
            self._move(worker, None)
        elif worker.pool is None or worker.pool.key != key:
            self._move(worker, self._pools.get(key) or self._open_pool(key))

    def serving(self, track: str) -> tuple[int, int]:
        """Return how many scoped and how many generic workers serve a track."""
        return len(self._scoped.get(track, ())), len(self._generic)

    def use(self, worker: Worker) -> None:
        """Make it the most recently used one."""
        self._uses += 1
        worker.last_used = self._uses

    def available(self, lane: Lane) -> Worker | None:
        """Return the least recently used scoped worker with room, else such a generic one."""
        for pools in (lane.scoped, lane.generic):
            best = None
            for pool in pools:
                worker = pool.first_free()
                if worker is not None and (best is None or worker.last_used < best.last_used):
                    best = worker
            if best is not None:
                return best
        return None

    def idle(self, lane: Lane) -> Worker | None:
        """Return a worker that runs nothing at all; for suspects, which are few."""
        for pools in (lane.scoped, lane.generic):
            idle = [w for pool in pools for w in pool.workers if w.room and not w.running]
            if idle:
                return min(idle, key=lambda worker: (worker.last_used, worker))
        return None

    # --- jobs

    def want(self, track: str, version: str) -> Lane:
        """Have a lane for a version from now on."""
        return self.lanes.setdefault((track, version), Lane(self.channel, track, version))

    def unwant(self, lane: Lane) -> None:
        """Have no lane for a version any more; its jobs are the caller's to refuse before."""
        del self.lanes[lane.track, lane.version]
        ready = [worker for pool in lane.scoped + lane.generic for worker in pool.workers]
        for worker in (*ready, *lane.failed):
            self.refit(worker)

    def put(self, work: Work) -> None:
        """Let a job wait, last of its rank."""
        self._arrivals += 1
        work.order = self._arrivals
        lane, rank = work.lane, work.rank
        lane.waiting[rank][work.order] = work
        self.count += 1
        self.bytes += len(work.body)
        if len(lane.waiting[rank]) == 1:
            for pools in (lane.scoped, lane.generic):
                for pool in pools:
                    pool.list_lane(lane, rank)

    def in_order(self) -> list[Work]:
        """Return all that waits, what comes first first."""
        waiting = [work for lane in self.lanes.values() for work in lane]
        return sorted(waiting, key=lambda work: (work.rank, work.order))

    def remove(self, work: Work) -> None:
        """Take a job out of its queue, wherever it stands there."""
        lane = work.lane
        del lane.waiting[work.rank][work.order]
        if not lane:  # what waits here next has not waited yet
            lane.stranded_since = None
        self.count -= 1
        self.bytes -= len(work.body)

    # --- pools

    def _groups(self, worker: Worker) -> Iterator[set[Worker]]:
        if not worker.topics:
            yield self._generic
        for topic in worker.topics:
            yield self._scoped.setdefault(topic, set())

    def _fitness(self, worker: Worker) -> tuple[frozenset[Lane], frozenset[Lane]]:
        """Return the lanes that it can take from, and those that it never will."""
        by_state: dict[Readiness, set[Lane]] = {Readiness.READY: set(), Readiness.FAILED: set()}
        for name, version in worker.versions.items():
            lane = self.lanes.get(name)
            if lane is not None and version.state in by_state and serves(worker, lane.track):
                by_state[version.state].add(lane)
        if ANY_LANE in self.lanes:
            by_state[Readiness.READY].add(self.lanes[ANY_LANE])
        return frozenset(by_state[Readiness.READY]), frozenset(by_state[Readiness.FAILED])

    def _open_pool(self, key: tuple[bool, frozenset[Lane]]) -> Pool:
        pool = self._pools[key] = Pool(key)
        for lane in pool.lanes:
            (lane.scoped if key[0] else lane.generic).append(pool)
            for rank, queue in enumerate(lane.waiting):
                if queue:
                    pool.list_lane(lane, rank)
        return pool

    def _move(self, worker: Worker, pool: Pool | None) -> None:
        old = worker.pool
        if old is not None:
            old.workers.discard(worker)
            if not old.workers:
                del self._pools[old.key]
                for lane in old.lanes:
                    (lane.scoped if old.key[0] else lane.generic).remove(old)
        worker.pool = pool
        worker.listed = False
        if pool is not None:
            pool.workers.add(worker)
            if worker.room:
                pool.list_worker(worker)


ANY_LANE = ("", "")
"""The one lane of a channel whose workers run no versions."""


def serves(worker: Worker, track: str) -> bool:
    """Whether a worker is there for a track at all."""
    return not worker.topics or track in worker.topics
