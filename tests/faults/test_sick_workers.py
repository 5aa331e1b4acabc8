"""Workers that are alive and of no use: stopped, wedged, slow."""

import signal

import pytest
from faults.history import Terms
from faults.waiting import await_that
from faults.yard import HASTY_S, Yard

from pipeline_protocol import status


def test_stopped_for_less_than_the_liveness(yard: Yard) -> None:
    """Nobody is lost, nothing runs twice."""
    yard.start_router()
    (worker,) = yard.start_workers(1)
    crowd = yard.crowd()
    asked = yard.requests(4, "sleep 0.3")
    crowd.ask(*asked)
    yard.await_running(asked[0])
    worker.send(signal.SIGSTOP)
    yard.pause(1.0)
    worker.send(signal.SIGCONT)
    crowd.wait()
    assert "is lost" not in yard.router.output()
    yard.judge()


def test_stopped_for_more_than_the_liveness(yard: Yard) -> None:
    """Its jobs are done elsewhere; when it wakes up, what it says of them is of no account."""
    yard.terms = Terms(executions=2)
    yard.start_router(liveness_s=HASTY_S)
    workers = dict(zip(("worker-1", "worker-2"), yard.start_workers(2), strict=True))
    crowd = yard.crowd()
    asked = yard.requests(4, "sleep 0.5")
    crowd.ask(*asked)
    stopped = yard.await_running(asked[0]).worker
    workers[stopped].send(signal.SIGSTOP)
    crowd.wait()
    yard.router.wait_for(rf"{stopped} is lost \(silent")
    workers[stopped].send(signal.SIGCONT)
    yard.await_ready(stopped)
    again = yard.requests(8, "sleep 0.05")
    crowd.ask(*again)
    crowd.wait()
    assert stopped in {yard.executions(one)[0].worker for one in again}
    yard.judge()


@pytest.mark.soak
def test_a_result_that_was_late_still_counts_when_nobody_else_has_one(yard: Yard) -> None:
    """One worker only: it is lost, comes back with what it ran all the time, and that is taken."""
    yard.start_router(liveness_s=HASTY_S)
    (worker,) = yard.start_workers(1)
    crowd = yard.crowd()
    asked = yard.request("sleep 0.2")
    crowd.ask(asked)
    yard.await_running(asked)
    worker.send(signal.SIGSTOP)
    yard.router.wait_for("worker-1 is lost")
    worker.send(signal.SIGCONT)
    crowd.wait()
    yard.judge()


def test_a_wedged_worker_falls_silent_although_its_connection_lives(yard: Yard) -> None:
    yard.terms = Terms(executions=2)
    yard.start_router(liveness_s=HASTY_S)
    yard.start_workers(2, slots=4)
    crowd = yard.crowd()
    neighbours = yard.requests(6, "sleep 0.4")
    wedging = yard.request("sleep 0.2", "wedge", codes=[status.WORKER_FAILED], timeout_s=30)
    crowd.ask(*neighbours[:3], wedging, *neighbours[3:])
    first = yard.await_running(wedging).worker
    yard.router.wait_for(rf"{first} is lost \(silent")
    assert yard.worker(first).alive
    yard.await_running(wedging, times=2)
    yard.start_worker("worker-3", slots=4, serving=False)  # both others are wedged now
    crowd.wait()
    yard.judge()


@pytest.mark.soak
def test_a_deadline_that_passes_on_a_stopped_worker_is_a_504(yard: Yard) -> None:
    yard.start_router()
    (worker,) = yard.start_workers(1)
    crowd = yard.crowd()
    asked = yard.request("sleep 0.5", timeout_s=2, codes=[status.DEADLINE_PASSED])
    crowd.ask(asked)
    yard.await_running(asked)
    worker.send(signal.SIGSTOP)
    crowd.wait()
    worker.send(signal.SIGCONT)
    after = yard.requests(4)
    crowd.ask(*after)  # the slot has come back
    yard.judge()


def test_nothing_waits_behind_a_slow_worker(yard: Yard) -> None:
    """It is never sent more than it has slots: all else is done by the quick one meanwhile."""
    yard.start_router()
    yard.start_workers(1)
    crowd = yard.crowd()
    slow = yard.requests(2, "sleep 50", codes=[status.CANCELLED])
    crowd.ask(*slow)
    await_that(lambda: all(yard.executions(one) for one in slow))
    yard.start_worker("worker-2")
    quick = yard.requests(40, "sleep 0.01")
    crowd.ask(*quick)
    await_that(lambda: all(one.answered for one in quick))
    assert {yard.executions(one)[0].worker for one in quick} == {"worker-2"}
    assert not any(one.answered for one in slow)
    for one in slow:
        assert yard.say({"action": "cancel", "id": one.id})["status"]["code"] == status.OK
    yard.judge()
