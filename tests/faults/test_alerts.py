"""Alerts fire by the faults that they are for: a real router, real faults, a real Prometheus."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.history import Terms
from faults.lab import HASTY_S, FaultLab
from faults.waiting import again_and_again
from support.prometheus import RULES, Prometheus, in_seconds, prometheus

from pipeline_protocol import status

LISTENS = r"listening on http://127.0.0.1:(\d+) \(monitor\)"
QUEUE = 40


@pytest.fixture
def watched(lab: FaultLab, tmp_path: Path) -> Iterator[Prometheus]:
    router = lab.start_router("--monitor", "127.0.0.1:0", liveness_s=HASTY_S, queue=QUEUE)
    monitor = int(router.wait_for(LISTENS)[1])
    with prometheus(tmp_path / "prometheus", [monitor]) as own:
        yield own


def test_nobody_serves_a_track_and_then_somebody_does(lab: FaultLab, watched: Prometheus) -> None:
    time.sleep(HASTY_S)  # until then workers of an earlier router may still come
    lab.terms = Terms(executions=1)

    def ask() -> None:
        group.ask(lab.request(codes=[status.NO_WORKER, status.OK]))

    group = lab.group(seats=8)
    with again_and_again(ask, every_s=0.1):
        watched.await_alert("PipelineNoReadySlot")
        watched.await_alert("PipelineRefusals")
        lab.start_worker("worker-1")
        watched.await_alert("PipelineNoReadySlot", fires=False)
        watched.await_alert("PipelineRefusals", fires=False)
    group.wait()


def test_jobs_wait_and_a_worker_is_lost(lab: FaultLab, watched: Prometheus) -> None:
    lab.terms = Terms(executions=2)
    lab.start_workers(2, slots=1)
    group = lab.group(seats=8)
    group.ask(*lab.requests(4, "sleep 6"))
    lab.await_work_on("worker-2")
    lab.worker("worker-2").kill()
    watched.await_alert("PipelineJobsWait")
    watched.await_alert("PipelineWorkersMissing")
    lab.start_worker("worker-2")
    watched.await_alert("PipelineWorkersMissing", fires=False)
    group.wait()
    watched.await_alert("PipelineJobsWait", fires=False)


def test_a_deploy_is_stuck_and_a_save_fails(lab: FaultLab, watched: Prometheus) -> None:
    lab.start_worker("worker-1")
    lab.deploy("broken-1")
    watched.await_alert("PipelineDeployStuck")
    lab.deploy("broken-1", "unload")
    watched.await_alert("PipelineDeployStuck", fires=False)
    in_its_way = lab.config.with_name(f".{lab.config.name}.new")
    in_its_way.mkdir()
    assert lab.deploy("v2")["status"]["code"] == status.SETUP_FAILED
    watched.await_alert("PipelineSaveFailed")
    in_its_way.rmdir()
    assert lab.deploy("v2")["status"]["code"] == status.OK
    watched.await_alert("PipelineSaveFailed", fires=False)


@pytest.mark.soak
def test_a_router_that_stands_still_again_and_again(lab: FaultLab, watched: Prometheus) -> None:
    lab.start_worker("worker-1")
    group = lab.group(seats=32)

    def stand_still() -> None:
        """Some of these are in the middle of a turn: it is busy."""
        lab.router.send(signal.SIGSTOP)
        time.sleep(0.7)
        lab.router.send(signal.SIGCONT)

    lab.terms = Terms(executions=2)
    with (
        again_and_again(lambda: group.ask(*lab.requests(200)), every_s=0.05),
        again_and_again(stand_still, every_s=0.2),
    ):
        watched.await_alert("PipelineLoopLag")


def test_the_times_of_all_rules_are_made_short() -> None:
    """Else a test here would wait for minutes."""
    text = in_seconds(RULES.read_text())
    assert not re.search(r"\d+m\b(?!s)", text)
