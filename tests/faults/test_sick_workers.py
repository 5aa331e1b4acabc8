"""Workers that are alive and of no use: stopped, wedged, slow."""

import signal

import pytest
from faults.history import Terms
from faults.lab import HASTY_S, FaultLab
from faults.waiting import await_that

from pipeline_protocol import status


def test_stopped_for_less_than_the_liveness(lab: FaultLab) -> None:
    """Nobody is lost, nothing runs twice."""
    lab.start_router()
    (worker,) = lab.start_workers(1)
    group = lab.group()
    asked = lab.requests(4, "sleep 0.3")
    group.ask(*asked)
    lab.await_running(asked[0])
    worker.send(signal.SIGSTOP)
    lab.pause(1.0)
    worker.send(signal.SIGCONT)
    group.wait()
    assert "is lost" not in lab.router.output()
    lab.judge()


def test_stopped_for_more_than_the_liveness(lab: FaultLab) -> None:
    """Its jobs are done elsewhere; when it wakes up, what it says of them is of no account."""
    lab.terms = Terms(executions=2)
    lab.start_router(liveness_s=HASTY_S)
    workers = dict(zip(("worker-1", "worker-2"), lab.start_workers(2), strict=True))
    group = lab.group()
    asked = lab.requests(4, "sleep 0.5")
    group.ask(*asked)
    stopped = lab.await_running(asked[0]).worker
    workers[stopped].send(signal.SIGSTOP)
    group.wait()
    lab.router.wait_for(rf"{stopped} is lost \(silent")
    workers[stopped].send(signal.SIGCONT)
    lab.await_ready(stopped)
    again = lab.requests(8, "sleep 0.05")
    group.ask(*again)
    group.wait()
    assert stopped in {lab.executions(one)[0].worker for one in again}
    lab.judge()


@pytest.mark.soak
def test_a_result_that_was_late_still_counts_when_nobody_else_has_one(lab: FaultLab) -> None:
    """One worker only: it is lost, comes back with what it ran all the time, and that is taken."""
    lab.start_router(liveness_s=HASTY_S)
    (worker,) = lab.start_workers(1)
    group = lab.group()
    asked = lab.request("sleep 0.2")
    group.ask(asked)
    lab.await_running(asked)
    worker.send(signal.SIGSTOP)
    lab.router.wait_for("worker-1 is lost")
    worker.send(signal.SIGCONT)
    group.wait()
    lab.judge()


def test_a_wedged_worker_falls_silent_although_its_connection_lives(lab: FaultLab) -> None:
    lab.terms = Terms(executions=2)
    lab.start_router(liveness_s=HASTY_S)
    lab.start_workers(2, slots=4)
    group = lab.group()
    neighbours = lab.requests(6, "sleep 0.4")
    wedging = lab.request("sleep 0.2", "wedge", codes=[status.WORKER_FAILED], timeout_s=30)
    group.ask(*neighbours[:3], wedging, *neighbours[3:])
    first = lab.await_running(wedging).worker
    lab.router.wait_for(rf"{first} is lost \(silent")
    assert lab.worker(first).alive
    lab.await_running(wedging, times=2)
    lab.start_worker("worker-3", slots=4, serving=False)  # both others are wedged now
    group.wait()
    lab.judge()


@pytest.mark.soak
def test_a_deadline_that_passes_on_a_stopped_worker_is_a_504(lab: FaultLab) -> None:
    lab.start_router()
    (worker,) = lab.start_workers(1)
    group = lab.group()
    asked = lab.request("sleep 0.5", timeout_s=2, codes=[status.DEADLINE_PASSED])
    group.ask(asked)
    lab.await_running(asked)
    worker.send(signal.SIGSTOP)
    group.wait()
    worker.send(signal.SIGCONT)
    after = lab.requests(4)
    group.ask(*after)  # the slot has come back
    lab.judge()


def test_nothing_waits_behind_a_slow_worker(lab: FaultLab) -> None:
    """It is never sent more than it has slots: all else is done by the quick one meanwhile."""
    lab.start_router()
    lab.start_workers(1)
    group = lab.group()
    slow = lab.requests(2, "sleep 50", codes=[status.CANCELLED])
    group.ask(*slow)
    await_that(lambda: all(lab.executions(one) for one in slow))
    lab.start_worker("worker-2")
    quick = lab.requests(40, "sleep 0.01")
    group.ask(*quick)
    await_that(lambda: all(one.answered for one in quick))
    assert {lab.executions(one)[0].worker for one in quick} == {"worker-2"}
    assert not any(one.answered for one in slow)
    for one in slow:
        assert lab.say({"action": "cancel", "id": one.id})["status"]["code"] == status.OK
    lab.judge()
