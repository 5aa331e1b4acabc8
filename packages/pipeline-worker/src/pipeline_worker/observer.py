"""A look at a worker once a second, for its monitor; no I/O."""

from collections import Counter

import msgspec
from msgspec import Struct

from pipeline_protocol.link import Readiness, VersionState
from pipeline_protocol.monitor.snapshot import (
    HistogramFamily,
    Labels,
    MetricFamily,
    Snapshot,
    gauge,
    histogram_family,
)
from pipeline_worker.bootstrap import Phase
from pipeline_worker.core import WorkerCore
from pipeline_worker.counters import OTHER_CODE, Room, RunsSeen

_encode = msgspec.json.Encoder().encode
_SHOWN = (Readiness.PREPARING, Readiness.READY, Readiness.FAILED)


class ShownVersion(Struct, frozen=True, omit_defaults=True):
    """How far a wanted version is."""

    track: str
    version: str
    state: Readiness
    digest: str = ""
    reason: str = ""
    percent: int = 0
    phase: str = ""


class WorkerStatusDocument(Struct, frozen=True):
    """What `/status.json` of a worker's monitor has."""

    identity: str
    channel: str
    topics: tuple[str, ...]
    connected: bool
    """Whether a router has it in session."""
    draining: bool
    trouble: str
    """Why it takes no jobs, if it is its host that is not well."""
    keeps: str
    """Why it keeps images that are not wanted."""
    slots: int
    running: int
    held: int
    """Results that no router has acknowledged."""
    loop_lag_s: float
    versions: tuple[ShownVersion, ...]
    disk: Room | None
    host: dict[str, str]


def look(core: WorkerCore, runs: RunsSeen, room: Room | None, lag_s: float) -> Snapshot:
    """Make a snapshot; `lag_s` is the loop's own figure."""
    status = WorkerStatusDocument(
        identity=core.identity,
        channel=core.address.channel,
        topics=tuple(core.address.topics),
        connected=core.phase is Phase.SERVING,
        draining=core.draining,
        trouble=core.health.trouble,
        keeps=core.retention.words(),
        slots=core.slots,
        running=len(core.ledger.running),
        held=len(core.ledger.held),
        loop_lag_s=lag_s,
        versions=tuple(map(_version, core.desired.states())),
        disk=room,
        host=core.host,
    )
    return Snapshot(
        [*_gauges(status), *_counters(core, runs)],
        _histograms(core, runs),
        _encode(status),
        _unready(core, status),
    )


def _version(state: VersionState) -> ShownVersion:
    return ShownVersion(
        state.track,
        state.version,
        state.state,
        state.digest or "",
        state.reason,
        state.percent,
        str(state.phase),
    )


def _unready(core: WorkerCore, status: WorkerStatusDocument) -> tuple[str, ...]:
    reasons = []
    if not status.connected:
        reasons.append("no router has this worker in session")
    elif not core.has_settled:
        reasons.append("its versions are being prepared for the first time")
    if status.trouble:
        reasons.append(status.trouble)
    elif status.draining:
        reasons.append("it is leaving")
    return tuple(reasons)


def _gauges(status: WorkerStatusDocument) -> list[MetricFamily]:
    states = Counter(version.state for version in status.versions)
    room = status.disk
    families = [
        gauge("pipeline_worker_connected", "1 while a router has it in session.", status.connected),
        gauge("pipeline_worker_draining", "1 while it takes no more jobs.", status.draining),
        gauge(
            "pipeline_worker_trouble",
            "1 while it is out of the pool because its host failed its check.",
            bool(status.trouble),
        ),
        gauge(
            "pipeline_worker_keeping",
            "1 while it keeps images that are not wanted, and waits for an operator's word.",
            bool(status.keeps),
        ),
        gauge("pipeline_worker_slots", "How many jobs it does at a time.", status.slots),
        gauge("pipeline_worker_running", "Jobs that run.", status.running),
        gauge(
            "pipeline_worker_held_results",
            "Results that no router has acknowledged yet.",
            status.held,
        ),
        MetricFamily(
            "pipeline_worker_versions",
            "gauge",
            "Wanted versions by how far they are.",
            ("state",),
            [((str(state),), states[state]) for state in _SHOWN],
        ),
        gauge(
            "pipeline_worker_loop_lag_seconds",
            "The longest that anything had to wait for the loop in the last minute.",
            status.loop_lag_s,
        ),
    ]
    if room is not None:
        families += [
            gauge(
                "pipeline_worker_disk_free_bytes",
                "Room on the working folder's disk.",
                room.free_bytes,
            ),
            gauge(
                "pipeline_worker_disk_size_bytes",
                "Size of the working folder's disk.",
                room.size_bytes,
            ),
            gauge(
                "pipeline_worker_disk_free_files",
                "Files that the working folder's disk has room for.",
                room.free_files,
            ),
        ]
    return families


def _counters(core: WorkerCore, runs: RunsSeen) -> list[MetricFamily]:
    counters = core.counters
    return [
        _counter(
            "pipeline_worker_jobs_total",
            "Jobs that ended, by the code of their reply.",
            ("code",),
            {
                str(code) if code != OTHER_CODE else "other": times
                for code, times in counters.ended.items()
                if times
            },
        ),
        _counter(
            "pipeline_worker_runs_total",
            "Runs in the sandbox, by how they ended.",
            ("ending",),
            runs.endings,
        ),
        _counter(
            "pipeline_worker_containers_total",
            "Containers of runs: those that had been made ahead, and those that had not.",
            ("made",),
            {"ahead": runs.made_ahead, "anew": runs.made_anew},
        ),
        _counter(
            "pipeline_worker_prepares_total",
            "Attempts to get a version ready.",
            ("outcome",),
            {"ready": counters.prepared.count, "failed": counters.unprepared},
        ),
        _counter(
            "pipeline_worker_host_checks_total",
            "Checks of the host, after something made it doubtful.",
            ("outcome",),
            counters.checks,
        ),
    ]


def _histograms(core: WorkerCore, runs: RunsSeen) -> list[HistogramFamily]:
    return [
        histogram_family(name, says, (), [((), cell)])
        for name, says, cell in (
            (
                "pipeline_worker_job_seconds",
                "From a job's coming to its reply.",
                core.counters.ran,
            ),
            (
                "pipeline_worker_setup_seconds",
                "From a run's beginning to its program's start.",
                runs.setup,
            ),
            (
                "pipeline_worker_prepare_seconds",
                "From wanting a version to having it ready: pulled, and tried.",
                core.counters.prepared,
            ),
        )
    ]


def _counter(name: str, says: str, labels: Labels, counts: dict[str, int]) -> MetricFamily:
    return MetricFamily(
        name, "counter", says, labels, [((value,), count) for value, count in counts.items()]
    )
