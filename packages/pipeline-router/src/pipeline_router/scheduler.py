"""Who gets the next job: one channel's workers, and the jobs that wait for them.

Neither a job nor a freed slot looks at every worker or every waiting job. Workers that have the
same versions ready form a *pool*; the jobs that need one version of one track's tool form a
*lane*. A lane knows the few pools that can take its jobs; a pool keeps one heap of its workers
with room, least recently used first, and one a rank of whose jobs wait, longest without a turn
first. Entries of the heaps are put right only when they come to the top: a worker's last use and
an owner's last turn only ever grow, so that what is out of date comes up too early, never too late.
"""

from collections.abc import Iterator

from pipeline_protocol.link import Readiness
from pipeline_protocol.monitor.histogram import Histogram
from pipeline_router.model import RANKS, Lane, Pool, Share, Work, Worker


class Scheduler:
    """One channel's lanes and pools."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.count = 0
        """Of the waiting jobs."""
        self.bytes = 0
        """Of the waiting jobs' requests."""
        self.ranks = [0] * RANKS
        """Of the waiting jobs, how many there are of each rank."""
        self.since: dict[int, float] = {}
        """When each waiting job was accepted, by its place in the order of arrivals."""
        self.workers: set[Worker] = set()
        """All that are to be given jobs, now or when they are ready."""
        self.shares: dict[str, Share] = {}
        """Owner to what waits of it; nobody's is empty."""
        self.queued = tuple(Histogram() for _ in range(RANKS))
        """Seconds from a job's acceptance to its first sending, by rank."""
        self.ran = tuple(Histogram() for _ in range(RANKS))
        """Seconds from a job's sending to its result, by rank."""
        self._pools: dict[tuple[bool, frozenset[Lane]], Pool] = {}
        self._generic: set[Worker] = set()
        self._scoped: dict[str, set[Worker]] = {}
        self._expected: dict[str, float] = {}
        """Track ("" for generic ones) to until when workers that have gone may still come back."""
        self._arrivals = 0
        self._uses = 0

    # --- workers

    def join(self, worker: Worker) -> None:
        """Let a worker have jobs, as soon as it has something ready."""
        self.workers.add(worker)
        for workers in self._groups(worker):
            workers.add(worker)
        self.reassign_pool(worker)

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

    def expect(self, worker: Worker, until: float) -> None:
        """Note that a worker which has gone without being told to may come back until then."""
        for topic in worker.topics or ("",):
            self._expected[topic] = until

    def expects(self, track: str, now: float) -> bool:
        """Whether a worker that would serve a track may be back in a moment."""
        for topic in [topic for topic, until in self._expected.items() if until <= now]:
            del self._expected[topic]
        return "" in self._expected or track in self._expected

    def reassign_pool(self, worker: Worker) -> None:
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

    def use(self, worker: Worker, owner: str) -> None:
        """Make it the most recently used one, by a job of that owner."""
        self._uses += 1
        worker.last_used = self._uses
        pool = worker.pool
        if pool is not None:
            pool.turn += 1
            pool.served[owner] = pool.turn
            if len(pool.served) > pool.most_served:
                pool.forget_turns()

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
        lane = Lane(self.channel, track, version, self.queued, self.ran)
        return self.lanes.setdefault((track, version), lane)

    def unwant(self, lane: Lane) -> None:
        """Have no lane for a version any more; its jobs are the caller's to refuse before."""
        del self.lanes[lane.track, lane.version]
        ready = [worker for pool in lane.scoped + lane.generic for worker in pool.workers]
        for worker in sorted((*ready, *lane.failed)):
            self.reassign_pool(worker)

    def put(self, work: Work) -> None:
        """Let a job wait, last of its rank."""
        self._arrivals += 1
        work.order = self._arrivals
        lane, rank = work.lane, work.rank
        lane.waiting += 1
        self.count += 1
        self.ranks[rank] += 1
        self.since[work.order] = work.accepted
        self.bytes += len(work.body)
        share = self.shares.get(work.owner)
        if share is None:
            share = self.shares[work.owner] = Share(work.owner)
        share.put(work)
        if len(share.waiting[rank][lane]) == 1:
            for pools in (lane.scoped, lane.generic):
                for pool in pools:
                    pool.list_share(share, rank)

    def waiting(self, lane: Lane | None = None) -> Iterator[Work]:
        """Go through all that waits, or that waits in a lane."""
        for share in self.shares.values():
            for one in self.lanes.values() if lane is None else (lane,):
                yield from share.of(one)

    def in_order(self) -> list[Work]:
        """Return all that waits, what comes first first: by rank, then in turn by owner."""
        turns: dict[tuple[int, str], int] = {}
        places = []
        for work in sorted(self.waiting(), key=lambda work: work.order):
            turn = turns[work.rank, work.owner] = turns.get((work.rank, work.owner), 0) + 1
            places.append((work.rank, turn, work.order, work))
        return [work for *_, work in sorted(places, key=lambda place: place[:3])]

    def fits(self, work: Work, queue: int, queue_bytes: int) -> bool:
        """Whether there is room for one more job to wait."""
        return self.count < queue and self.bytes + len(work.body) <= queue_bytes

    def make_room(self, work: Work, queue: int, queue_bytes: int) -> list[Work]:
        """Return what has to go for a job's sake; empty if the job itself is too much.

        Room is shared like turns. Whose job is within its share gets it from who has the most:
        what would be served last, but nothing of a rank before the job's own.
        """
        own = self.shares.get(work.owner) or Share(work.owner)
        owners = len(self.shares) + (not own.count)
        count, size = own.count + 1, own.bytes + len(work.body)
        if count * owners > queue or size * owners > queue_bytes:
            return []
        full = self.count >= queue
        most = max(self.shares.values(), key=lambda share: share.count if full else share.bytes)
        gone: list[Work] = []
        left = self.bytes + len(work.body)
        for last in most.latest_first():
            if most is own or last.rank < work.rank:
                break
            gone.append(last)
            left -= len(last.body)
            if left <= queue_bytes:
                return gone
        return []

    def remove(self, work: Work) -> None:
        """Take a job out of its queue, wherever it stands there."""
        lane = work.lane
        lane.waiting -= 1
        if not lane.waiting:  # what waits here next has not waited yet
            lane.stranded_since = None
        self.count -= 1
        self.ranks[work.rank] -= 1
        del self.since[work.order]
        self.bytes -= len(work.body)
        share = self.shares[work.owner]
        share.remove(work)
        if not share.count:
            del self.shares[work.owner]

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
        for share in self.shares.values():
            for rank, waiting in enumerate(share.waiting):
                if not pool.lanes.isdisjoint(waiting):
                    pool.list_share(share, rank)
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
