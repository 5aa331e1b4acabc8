"""A look at the router once a second, for its monitor: no I/O, and no account but what was seen.

Nothing here is paid for by a job. A look costs what there is to see: workers, running jobs, lanes.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from pipeline_protocol.monitor.histogram import Histogram
from pipeline_protocol.monitor.snapshot import Snapshot
from pipeline_protocol.responses import DeployState
from pipeline_router.counters import Outcomes
from pipeline_router.demand import FIRST_RUN_S, RefusedDemand, Scope
from pipeline_router.deployments import Deployments
from pipeline_router.dispatch import Dispatcher
from pipeline_router.metrics import families, histograms
from pipeline_router.model import RANK_NAMES, RANKS, Lane, Pool, Work, Worker
from pipeline_router.operations import Operations, describe_missing
from pipeline_router.scheduler import Scheduler, serves
from pipeline_router.sessions import Sessions
from pipeline_router.status_document import (
    ChannelState,
    FileState,
    Laggard,
    RouterStatus,
    TrackState,
    UnreadyVersion,
    WorkerState,
)

MOST_WORKERS = 2000
MOST_UNREADY = 200
MOST_LAGGARDS = 10
"""That are listed, of each version."""
LOOKED_AT = 20
"""Versions whose laggards are looked for: who has the longest to wait for is looked at first."""

_encode = msgspec.json.Encoder().encode
Version = tuple[str, str, str]
"""Channel, track and version."""


class _Slots(Struct):
    """A channel's slots as they are used now."""

    running: int = 0
    by_track: dict[str, int] = {}
    reserved: list[Work] = []
    states: dict[str, int] = {}
    slots: int = 0
    ready_slots: int = 0


class Observer:
    """Makes snapshots of a router's state."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        sessions: Sessions,
        deployments: Deployments,
        operations: Operations,
        version: str,
        now: float,
    ) -> None:
        self._dispatcher = dispatcher
        self._sessions = sessions
        self._deployments = deployments
        self._operations = operations
        self._version = version
        self._began = now
        self._refused = RefusedDemand(now)
        self._unready_since: dict[Version, float] = {}

    def look(self, now: float, lag_s: float, *, with_keys: bool) -> Snapshot:
        """Make a snapshot; `lag_s` is the loop's own figure."""
        status = self._status(now, lag_s, with_keys=with_keys)
        counters = self._dispatcher.counters
        return Snapshot(
            families(status, counters),
            histograms(self._dispatcher.schedulers),
            _encode(status),
            self._unready(status),
        )

    def _unready(self, status: RouterStatus) -> tuple[str, ...]:
        reasons = []
        if status.stopping:
            reasons.append("the router is shutting down")
        elif not status.serving:
            reasons.append("the router has just started")
        if status.save.error:
            reasons.append(f"the configuration is not saved: {status.save.error}")
        return tuple(reasons)

    def _status(self, now: float, lag_s: float, *, with_keys: bool) -> RouterStatus:
        dispatcher, presence = self._dispatcher, self._sessions.presence
        counters = dispatcher.counters
        used: dict[str, _Slots] = {name: _Slots() for name in dispatcher.schedulers}
        workers = [_worker(worker, used[worker.channel], now) for worker in presence]
        self._refused.look(counters.lacked, now)
        refused = self._refused.slots(
            {n: _mean_s(one.ran) for n, one in dispatcher.schedulers.items()}, now
        )
        unready = self._unready_versions(now)
        answered: dict[str, dict[str, int]] = {}
        for action, code, times in counters.codes():
            answered.setdefault(action, {})[str(code)] = times
        return RouterStatus(
            router=self._version,
            uptime_s=now - self._began,
            serving=dispatcher.open,
            stopping=dispatcher.stopping,
            loop_lag_s=lag_s,
            save=_file(counters.saves, now),
            reload=_file(counters.reloads, now),
            channels={
                name: _channel(scheduler, used[name], refused, now)
                for name, scheduler in dispatcher.schedulers.items()
            },
            workers=tuple(workers[:MOST_WORKERS]),
            workers_left_out=max(0, len(workers) - MOST_WORKERS),
            missing=tuple(describe_missing(one, now) for one in presence.missing.values()),
            unready=tuple(unready[:MOST_UNREADY]),
            unready_left_out=max(0, len(unready) - MOST_UNREADY),
            answered=answered,
            refused=tuple(dispatcher.refused.totals()),
            turned_away=dict(self._operations.turned_away),
            clients=self._operations.clients() if with_keys else None,
        )

    # --- versions

    def _unready_versions(self, now: float) -> list[UnreadyVersion]:
        """List the wanted versions that not all have ready, the longest so first."""
        since = {}
        found: list[tuple[Scheduler, Lane, int]] = []
        for channel, scheduler in self._dispatcher.schedulers.items():
            for lane in scheduler.lanes.values():
                serving = sum(scheduler.serving(lane.track))
                if lane.track and (not serving or lane.ready < serving):
                    key = (channel, lane.track, lane.version)
                    since[key] = self._unready_since.get(key, now)
                    found.append((scheduler, lane, serving))
        self._unready_since = since
        found.sort(key=lambda one: since[one[1].channel, one[1].track, one[1].version])
        return [
            _unready_version(
                *one,
                now - since[one[1].channel, one[1].track, one[1].version],
                in_full=number < LOOKED_AT,
            )
            for number, one in enumerate(found)
        ]


def _unready_version(
    scheduler: Scheduler, lane: Lane, serving: int, since_s: float, *, in_full: bool
) -> UnreadyVersion:
    ready, failed = lane.ready, len(lane.failed)
    if not serving:
        state = DeployState.NO_WORKERS
    elif ready:
        state = DeployState.PARTLY
    elif failed == serving:
        state = DeployState.FAILED
    else:
        state = DeployState.PREPARING
    laggards = tuple(_laggards(scheduler, lane)) if in_full and serving else ()
    names = (lane.channel, lane.track, lane.version)
    return UnreadyVersion(*names, state, since_s, serving, ready, failed, laggards)


def _laggards(scheduler: Scheduler, lane: Lane) -> Iterator[Laggard]:
    found = 0
    for worker in scheduler.workers:
        if not serves(worker, lane.track) or (worker.pool and lane in worker.pool.lanes):
            continue
        known = worker.versions.get((lane.track, lane.version))
        if known is None:
            yield Laggard(worker.identity, "unheard")
        else:
            progress = (known.percent, str(known.phase))
            yield Laggard(worker.identity, str(known.state), *progress, known.reason)
        found += 1
        if found == MOST_LAGGARDS:
            return


# --- workers and channels


def _worker(worker: Worker, used: _Slots, now: float) -> WorkerState:
    """Describe a worker, and add it to its channel's account."""
    state = state_of(worker)
    used.states[state] = used.states.get(state, 0) + 1
    used.running += len(worker.running)
    used.slots += worker.slots
    ready = 0 if worker.pool is None else len(worker.pool.lanes)
    if ready:
        used.ready_slots += worker.slots
    if worker.reserved is not None:
        used.reserved.append(worker.reserved)
    running: dict[str, int] = {}
    for held in worker.running.values():
        track = held.lane.track if isinstance(held, Work) else ""
        running[track] = running.get(track, 0) + 1
        used.by_track[track] = used.by_track.get(track, 0) + 1
    return WorkerState(
        worker.identity,
        worker.channel,
        state,
        worker.slots,
        tuple(sorted(worker.topics)),
        running,
        ready,
        len(worker.failed),
        now - worker.heard,
        worker.load,
        worker.trouble,
        worker.keeps,
    )


def state_of(worker: Worker) -> str:
    """Return the one of the states that says most of a worker."""
    if worker.trouble:
        return "trouble"
    if worker.restarting:
        return "restarting"
    if worker.draining:
        return "draining"
    return "ready" if worker.pool is not None else "preparing"


def _channel(
    scheduler: Scheduler, used: _Slots, refused: dict[Scope, float], now: float
) -> ChannelState:
    waiting: dict[str, int] = {}
    versions: dict[str, dict[str, int]] = {}
    ranks = list(scheduler.ranks)
    for lane in scheduler.lanes.values():
        if lane.version:
            versions.setdefault(lane.track, {})[lane.version] = lane.ready
        waiting[lane.track] = waiting.get(lane.track, 0) + lane.waiting
    for work in used.reserved:
        waiting[work.lane.track] = waiting.get(work.lane.track, 0) + 1
        ranks[work.rank] += 1
    lacked = {track: slots for (name, track), slots in refused.items() if name == scheduler.channel}
    ready = _ready_slots(scheduler)
    tracks = {}
    for track in sorted({*waiting, *used.by_track, *lacked, *ready}):
        slots = lacked.get(track, 0.0)
        running, waits = used.by_track.get(track, 0), waiting.get(track, 0)
        demand = waits + running + slots
        tracks[track] = TrackState(
            demand, waits, running, slots, ready.get(track, 0), versions.get(track, {})
        )
    oldest = min(scheduler.since.values(), default=now)
    for work in used.reserved:
        oldest = min(oldest, work.accepted)
    return ChannelState(
        workers=used.states,
        slots=used.slots,
        ready_slots=used.ready_slots,
        running=used.running,
        waiting={RANK_NAMES[rank]: ranks[rank] for rank in range(RANKS)},
        oldest_waiting_s=now - oldest,
        demand_slots=sum(track.demand_slots for track in tracks.values()),
        tracks=tracks,
    )


def _ready_slots(scheduler: Scheduler) -> dict[str, int]:
    """Return the slots that are ready for each track with wanted versions; a pool counts once."""
    slots: dict[Pool, int] = {}
    pools: dict[str, set[Pool]] = {}
    for lane in scheduler.lanes.values():
        own = pools.setdefault(lane.track, set())
        for pool in (*lane.scoped, *lane.generic):
            own.add(pool)
            if pool not in slots:
                slots[pool] = sum(worker.slots for worker in pool.workers)
    return {track: sum(slots[pool] for pool in own) for track, own in pools.items()}


def _mean_s(cells: tuple[Histogram, ...]) -> float:
    count = sum(cell.count for cell in cells)
    return sum(cell.total for cell in cells) / count if count else FIRST_RUN_S


def _file(outcomes: Outcomes, now: float) -> FileState:
    since = outcomes.failing_since
    failing_s = None if since is None else now - since
    return FileState(outcomes.done, outcomes.failed, failing_s, outcomes.error)
