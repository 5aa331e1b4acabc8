"""The router's metrics, by their names. No label has a value that a stranger chooses.

Labels are channels, actions, codes, states, ranks and reasons, all of them ours, and tracks: those
that are deployed, or were when their jobs came.
"""

from collections.abc import Mapping
from typing import Final

from pipeline_protocol.monitor.histogram import Histogram
from pipeline_protocol.monitor.snapshot import (
    HistogramFamily,
    Labels,
    MetricFamily,
    gauge,
    histogram_family,
)
from pipeline_router.counters import OTHER_CODE, Counters
from pipeline_router.model import RANK_NAMES
from pipeline_router.scheduler import Scheduler
from pipeline_router.status_document import FileState, RouterStatus

WORKER_STATES: Final = ("ready", "preparing", "restarting", "draining", "trouble")

Samples = list[tuple[Labels, float]]


def families(status: RouterStatus, counters: Counters) -> list[MetricFamily]:
    """Write what is counted, and what there is, as metrics."""
    return [*_of_requests(status, counters), *_of_channels(status), *_of_router(status)]


def histograms(schedulers: Mapping[str, Scheduler]) -> list[HistogramFamily]:
    """Copy what is measured, by channel."""
    return [
        histogram_family(
            name,
            says,
            ("channel", "rank"),
            (
                ((channel, RANK_NAMES[rank]), cell)
                for channel, scheduler in schedulers.items()
                for rank, cell in enumerate(cells(scheduler))
            ),
        )
        for name, says, cells in (
            (
                "pipeline_queue_seconds",
                "From a job's acceptance to its first sending to a worker.",
                _queued,
            ),
            ("pipeline_run_seconds", "From a job's sending to its result.", _ran),
        )
    ]


def _queued(scheduler: Scheduler) -> tuple[Histogram, ...]:
    return scheduler.queued


def _ran(scheduler: Scheduler) -> tuple[Histogram, ...]:
    return scheduler.ran


def _of_requests(status: RouterStatus, counters: Counters) -> list[MetricFamily]:
    answered: Samples = [
        ((action, str(code) if code != OTHER_CODE else "other"), times)
        for action, code, times in counters.codes()
    ]
    per_channel = ("channel",)
    return [
        _counter(
            "pipeline_requests_total",
            "Requests that were answered, by action and code.",
            ("action", "code"),
            answered,
        ),
        _counter(
            "pipeline_requests_repeated_total",
            "Requests that were the same as one in flight or answered lately, and ran no job.",
            per_channel,
            _by_channel(counters.repeated),
        ),
        _counter(
            "pipeline_redispatches_total",
            "Jobs whose worker was lost, or left, and that were sent again.",
            per_channel,
            _by_channel(counters.sent_again),
        ),
        _counter(
            "pipeline_workers_lost_total",
            "Workers that were lost.",
            per_channel,
            _by_channel(counters.lost),
        ),
        _counter(
            "pipeline_refused_total",
            "Refusals: replies by their code, and connections and workers that were not let in.",
            ("why", "where"),
            [((what, where), times) for what, where, times in status.refused],
        ),
        _counter(
            "pipeline_turned_away_total",
            "Connections that were not let in for want of a good key.",
            ("why",),
            [((why,), times) for why, times in status.turned_away.items()],
        ),
    ]


def _of_channels(status: RouterStatus) -> list[MetricFamily]:
    channels = status.channels.items()
    missing = dict.fromkeys(status.channels, 0)
    for one in status.missing:
        missing[one.channel] += 1
    unready: dict[tuple[str, str], list[float]] = {}
    for version in status.unready:
        unready.setdefault((version.channel, version.track), []).append(version.since_s)
    states: Samples = [
        ((name, state), channel.workers.get(state, 0))
        for name, channel in channels
        for state in WORKER_STATES
    ]
    per_channel, per_track = ("channel",), ("channel", "track")
    return [
        _gauge(
            "pipeline_workers",
            "Workers by state; a missing one was lost, and has not come back.",
            ("channel", "state"),
            [*states, *(((name, "missing"), count) for name, count in missing.items())],
        ),
        _gauge(
            "pipeline_slots",
            "Slots of all workers in session.",
            per_channel,
            [((name,), channel.slots) for name, channel in channels],
        ),
        _gauge(
            "pipeline_ready_slots",
            "Slots of workers that have a wanted version of the track ready.",
            per_track,
            [
                ((name, track), state.ready_slots)
                for name, channel in channels
                for track, state in channel.tracks.items()
            ],
        ),
        _gauge(
            "pipeline_running",
            "Slots in use.",
            per_channel,
            [((name,), channel.running) for name, channel in channels],
        ),
        _gauge(
            "pipeline_waiting",
            "Jobs that wait for a slot.",
            ("channel", "rank"),
            [
                ((name, rank), count)
                for name, channel in channels
                for rank, count in channel.waiting.items()
            ],
        ),
        _gauge(
            "pipeline_oldest_waiting_seconds",
            "How long the job has waited that was accepted first.",
            per_channel,
            [((name,), channel.oldest_waiting_s) for name, channel in channels],
        ),
        _gauge(
            "pipeline_demand_slots",
            "Slots that the work asks for: waiting, running, and refused for want of one.",
            per_track,
            [
                ((name, track), state.demand_slots)
                for name, channel in channels
                for track, state in channel.tracks.items()
            ],
        ),
        _gauge(
            "pipeline_unready_versions",
            "Wanted versions that not every worker of theirs has ready.",
            per_track,
            [(names, len(ages)) for names, ages in unready.items()],
        ),
        _gauge(
            "pipeline_unready_versions_seconds",
            "How long that has been so, of the version for which it has been so longest.",
            per_track,
            [(names, max(ages)) for names, ages in unready.items()],
        ),
    ]


def _of_router(status: RouterStatus) -> list[MetricFamily]:
    return [
        MetricFamily(
            "pipeline_router_info",
            "gauge",
            "1, with the router's release.",
            ("version",),
            [((status.router,), 1)],
        ),
        gauge("pipeline_serving", "1 while jobs are sent to workers.", status.serving),
        gauge(
            "pipeline_loop_lag_seconds",
            "The longest that anything had to wait for the loop in the last minute.",
            status.loop_lag_s,
        ),
        *_of_file("save", "Writing the wanted versions to the configuration", status.save),
        *_of_file("reload", "Reading the configuration again", status.reload),
    ]


def _of_file(what: str, doing: str, state: FileState) -> list[MetricFamily]:
    return [
        _counter(
            f"pipeline_{what}s_total",
            f"{doing}, by how it went.",
            ("outcome",),
            [(("done",), state.done), (("failed",), state.failed)],
        ),
        gauge(
            f"pipeline_{what}_failed", f"{doing}: 1 if it failed the last time.", bool(state.error)
        ),
    ]


def _by_channel(counts: dict[str, int]) -> Samples:
    return [((channel,), count) for channel, count in counts.items()]


def _counter(name: str, says: str, labels: Labels, samples: Samples) -> MetricFamily:
    return MetricFamily(name, "counter", says, labels, samples)


def _gauge(name: str, says: str, labels: Labels, samples: Samples) -> MetricFamily:
    return MetricFamily(name, "gauge", says, labels, samples)
