"""Workers that come and go by order, while there is work: SIGTERM, restart, the same name twice."""

import signal

import pytest
from faults.history import Terms
from faults.lab import HASTY_S, FaultLab

from pipeline_protocol import status


def test_sigterm_under_load(lab: FaultLab) -> None:
    """It says so, gets no more, finishes what it runs, leaves with 0; nothing runs twice."""
    lab.start_router()
    leaving, _ = lab.start_workers(2)
    group = lab.group(seats=8)
    asked = lab.requests(60, "sleep 0.1")
    group.ask(*asked)
    lab.await_work_on("worker-1")
    leaving.send(signal.SIGTERM)
    assert leaving.wait(20) == 0
    assert not all(one.answered for one in asked), "it had to leave while there was work"
    group.wait()
    lab.judge()


def test_sigterm_of_the_last_worker_refuses_what_waits(lab: FaultLab) -> None:
    lab.start_router(liveness_s=HASTY_S)
    (worker,) = lab.start_workers(1, slots=1)
    group = lab.group()
    running = lab.request("sleep 1")
    waiting = lab.requests(5, "sleep 0.2", codes=[status.NO_WORKER])
    group.ask(running)
    lab.await_running(running)
    group.ask(*waiting)
    worker.send(signal.SIGTERM)
    assert worker.wait(20) == 0
    group.wait()
    lab.judge()


def test_sigterm_while_the_router_is_away_loses_no_result(lab: FaultLab) -> None:
    lab.terms = Terms(router_died=True)
    lab.start_router()
    (worker,) = lab.start_workers(1)
    group = lab.group(resend_after_s=2)
    asked = lab.request("sleep 5")
    group.ask(asked)
    lab.await_running(asked)
    lab.router.kill()
    worker.wait_for("the router is silent")
    worker.send(signal.SIGTERM)
    lab.start_router()
    group.wait()
    assert worker.wait(20) == 0
    lab.judge()


def test_drain_and_restart_by_the_router_lose_nothing(lab: FaultLab) -> None:
    lab.start_router()
    drained, _ = lab.start_workers(2)
    group = lab.group(seats=8)
    asked = lab.requests(60, "sleep 0.1")
    group.ask(*asked)
    lab.await_work_on("worker-1")
    assert lab.say({"action": "restart_workers"})["status"]["code"] == status.OK
    drained.wait_for("RESTART")
    lab.await_ready("worker-1", "worker-2")
    drain = {"action": "drain_worker", "identity": "worker-1"}
    assert lab.say(drain)["status"]["code"] == status.OK
    assert drained.wait(20) == 0
    group.wait()
    lab.judge()


def test_a_second_worker_of_the_same_name_is_refused_while_the_first_lives(lab: FaultLab) -> None:
    lab.start_router()
    first = lab.start_worker("worker-1")
    group = lab.group()
    asked = lab.requests(4, "sleep 0.5")
    group.ask(*asked)
    lab.await_running(asked[0])
    second = lab.start_worker("worker-1", serving=False)
    assert second.wait() == 1
    assert "a worker called worker-1 is alive" in second.output()
    group.wait()
    assert first.alive
    lab.judge()


def test_the_name_of_a_dead_worker_is_free_at_once(lab: FaultLab) -> None:
    """Long before its silence would tell."""
    lab.terms = Terms(executions=2)
    lab.start_router()
    first = lab.start_worker("worker-1")
    group = lab.group()
    asked = lab.request("sleep 0.5")
    group.ask(asked)
    lab.await_running(asked)
    first.kill()
    lab.start_worker("worker-1", serving=False).wait_for("serving")
    group.wait()
    lab.judge()


@pytest.mark.soak
def test_a_stopped_worker_keeps_its_name_until_it_is_lost(lab: FaultLab) -> None:
    lab.start_router(liveness_s=3)
    first = lab.start_worker("worker-1")
    first.send(signal.SIGSTOP)
    second = lab.start_worker("worker-1", serving=False)
    second.wait_for("is alive: .*; asking again")
    lab.router.wait_for("worker-1 is lost")
    second.wait_for("serving")
    first.send(signal.SIGCONT)
    first.wait_for("is alive")
    group = lab.group()
    group.ask(*lab.requests(4))
    lab.judge()
