"""What a worker's monitor is shown: each figure moves by its cause."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.monitors import samples_of, until

from pipeline_containers.sandbox.result.report import Ending
from pipeline_protocol import link, status
from pipeline_protocol.address import WorkerAddress
from pipeline_protocol.link import Readiness, VersionState
from pipeline_protocol.settings import Settings, WantedVersion
from pipeline_worker import events
from pipeline_worker.core import WorkerCore
from pipeline_worker.counters import Room, RunsSeen
from pipeline_worker.host.disk import DiskWatch
from pipeline_worker.observer import look
from pipeline_worker.run_counters import RunCounters

V1 = WantedVersion("ruby", "v1")
ROOM = Room(1000, 4000, 50)


class Watched:
    """A core, its clock, and what is seen of it."""

    def __init__(self) -> None:
        address = WorkerAddress.parse("tcp://localhost:5555/test_runners?topic=ruby")
        self.core = WorkerCore("worker-1", "instance", address, 2)
        self.now = 100.0
        self.runs = RunCounters().seen()
        self.room: Room | None = ROOM

    def feed(self, event: events.Event, after: float = 0.0) -> None:
        self.now += after
        self.core.handle(event, self.now)

    def hear(self, message: link.ToWorker, after: float = 0.0) -> None:
        self.feed(events.Received(message), after)

    def serve(self, *versions: WantedVersion) -> None:
        self.feed(events.Tick())
        self.feed(events.LinkFound(5556))
        self.hear(link.Welcome(1, 7))
        self.hear(link.Configure(Settings(versions=versions)))

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        return samples_of(look(self.core, self.runs, self.room, 0.25))

    def value(self, name: str, *labels: str) -> float:
        return self.metrics()[f"pipeline_worker_{name}"][labels]

    def status(self) -> Any:
        return json.loads(look(self.core, self.runs, self.room, 0.25).status)

    def unready(self) -> tuple[str, ...]:
        return look(self.core, self.runs, self.room, 0.0).unready


@pytest.fixture
def worker() -> Watched:
    return Watched()


def test_it_is_ready_once_it_serves_with_what_is_wanted(worker: Watched) -> None:
    assert worker.unready() == ("no router has this worker in session",)
    worker.serve(V1)
    assert worker.unready() == ("its versions are being prepared for the first time",)
    worker.feed(events.VersionMoved(VersionState("ruby", "v1", Readiness.FAILED, reason="bad")))
    assert worker.unready() == ()
    worker.hear(link.Configure(Settings(versions=(V1, WantedVersion("ruby", "v2")))))
    assert worker.unready() == ()
    worker.hear(link.Drain())
    assert worker.unready() == ("it is leaving",)


def test_a_worker_without_versions_is_ready_at_once(worker: Watched) -> None:
    worker.serve()
    assert worker.unready() == ()
    assert worker.value("connected") == 1
    worker.feed(events.Tick(), 60)
    assert worker.value("connected") == 0


def test_jobs_are_counted_by_code_and_time(worker: Watched) -> None:
    worker.serve()
    for number, code in enumerate((status.OK, status.TOOL_FAILED, 123456)):
        worker.hear(link.Job(number, 1, 10_000, 0))
        assert worker.value("running") == 1
        worker.feed(events.RunEnded(number, 1, code, b"{}"), 2)
    shown = worker.metrics()
    assert shown["pipeline_worker_jobs_total"] == {("200",): 1, ("513",): 1, ("other",): 1}
    assert shown["pipeline_worker_job_seconds_sum"][()] == pytest.approx(6)
    assert shown["pipeline_worker_held_results"][()] == 3
    worker.hear(link.ResultAck(((0, 1), (1, 1), (2, 1))))
    assert worker.value("held_results") == 0


def test_versions_are_seen_by_how_far_they_are_and_how_long_it_took(worker: Watched) -> None:
    worker.serve(V1)
    assert worker.value("versions", "preparing") == 1
    worker.feed(events.VersionMoved(VersionState("ruby", "v1", Readiness.FAILED, reason="x")), 3)
    assert worker.value("versions", "failed") == 1
    assert worker.value("prepares_total", "failed") == 1
    worker.hear(link.RouterHeartbeat(7), 30)
    worker.feed(events.Tick())  # it is tried again
    worker.feed(events.VersionMoved(VersionState("ruby", "v1", Readiness.READY)), 4)
    assert worker.value("versions", "ready") == 1
    assert worker.value("prepares_total", "ready") == 1
    assert worker.value("prepare_seconds_sum") == pytest.approx(4)
    (version,) = worker.status()["versions"]
    assert (version["track"], version["version"], version["state"]) == ("ruby", "v1", "ready")


def test_a_host_that_fails_its_check_is_in_trouble(worker: Watched) -> None:
    worker.serve()
    for _ in range(2):
        worker.feed(events.HealthDoubted())
        worker.feed(events.Tick(), 2)
        worker.feed(events.HealthProved("no space left"))
    assert worker.value("trouble") == 1
    assert worker.value("draining") == 1
    assert worker.value("host_checks_total", "failed") == 2
    assert "no space left" in worker.unready()[0]
    assert "no space left" in worker.status()["trouble"]


def test_a_disk_is_shown_as_far_as_it_can_be_looked_at(worker: Watched) -> None:
    assert worker.value("disk_free_bytes") == 1000
    assert worker.status()["disk"] == {"free_bytes": 1000, "size_bytes": 4000, "free_files": 50}
    worker.room = None
    assert "pipeline_worker_disk_free_bytes" not in worker.metrics()


def test_runs_are_shown_by_ending_and_whether_they_were_warm(worker: Watched) -> None:
    none = {ending.value: 0 for ending in Ending}
    worker.runs = RunsSeen(none | {"timed_out": 2}, 3, 4, worker.runs.setup)
    assert worker.value("runs_total", "timed_out") == 2
    assert worker.value("containers_total", "ahead") == 3
    assert worker.value("containers_total", "anew") == 4
    assert set(worker.metrics()["pipeline_worker_runs_total"]) == {(name,) for name in none}


def test_no_label_has_a_strangers_word(worker: Watched) -> None:
    odd = "zz" * 10
    worker.serve(WantedVersion(odd, odd))
    worker.feed(events.VersionMoved(VersionState(odd, odd, Readiness.FAILED, reason=odd)))
    worker.feed(events.HealthProved(odd))
    for name, values in worker.metrics().items():
        assert odd not in str(values), name


def test_the_disk_is_looked_at(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path)
    until(lambda: watch.room is not None)
    watch.close()
    assert watch.room is not None
    assert 0 < watch.room.free_bytes <= watch.room.size_bytes
    gone = DiskWatch(tmp_path / "gone")
    gone.close()
    assert gone.room is None
