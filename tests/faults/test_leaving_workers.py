"""Workers that come and go by order, while there is work: SIGTERM, restart, the same name twice."""

import signal

import pytest
from faults.history import Terms
from faults.yard import HASTY_S, Yard

from pipeline_protocol import status


def test_sigterm_under_load(yard: Yard) -> None:
    """It says so, gets no more, finishes what it runs, leaves with 0; nothing runs twice."""
    yard.start_router()
    leaving, _ = yard.start_workers(2)
    crowd = yard.crowd(seats=8)
    asked = yard.requests(60, "sleep 0.1")
    crowd.ask(*asked)
    yard.await_work_on("worker-1")
    leaving.send(signal.SIGTERM)
    assert leaving.wait(20) == 0
    assert not all(one.answered for one in asked), "it had to leave while there was work"
    crowd.wait()
    yard.judge()


def test_sigterm_of_the_last_worker_refuses_what_waits(yard: Yard) -> None:
    yard.start_router(liveness_s=HASTY_S)
    (worker,) = yard.start_workers(1, slots=1)
    crowd = yard.crowd()
    running = yard.request("sleep 1")
    waiting = yard.requests(5, "sleep 0.2", codes=[status.NO_WORKER])
    crowd.ask(running)
    yard.await_running(running)
    crowd.ask(*waiting)
    worker.send(signal.SIGTERM)
    assert worker.wait(20) == 0
    crowd.wait()
    yard.judge()


def test_sigterm_while_the_router_is_away_loses_no_result(yard: Yard) -> None:
    yard.terms = Terms(router_died=True)
    yard.start_router()
    (worker,) = yard.start_workers(1)
    crowd = yard.crowd(resend_after_s=2)
    asked = yard.request("sleep 5")
    crowd.ask(asked)
    yard.await_running(asked)
    yard.router.kill()
    worker.wait_for("the router is silent")
    worker.send(signal.SIGTERM)
    yard.start_router()
    crowd.wait()
    assert worker.wait(20) == 0
    yard.judge()


def test_drain_and_restart_by_the_router_lose_nothing(yard: Yard) -> None:
    yard.start_router()
    drained, _ = yard.start_workers(2)
    crowd = yard.crowd(seats=8)
    asked = yard.requests(60, "sleep 0.1")
    crowd.ask(*asked)
    yard.await_work_on("worker-1")
    assert yard.say({"action": "restart_workers"})["status"]["code"] == status.OK
    drained.wait_for("RESTART")
    yard.await_ready("worker-1", "worker-2")
    drain = {"action": "drain_worker", "identity": "worker-1"}
    assert yard.say(drain)["status"]["code"] == status.OK
    assert drained.wait(20) == 0
    crowd.wait()
    yard.judge()


def test_a_second_worker_of_the_same_name_is_refused_while_the_first_lives(yard: Yard) -> None:
    yard.start_router()
    first = yard.start_worker("worker-1")
    crowd = yard.crowd()
    asked = yard.requests(4, "sleep 0.5")
    crowd.ask(*asked)
    yard.await_running(asked[0])
    second = yard.start_worker("worker-1", serving=False)
    assert second.wait() == 1
    assert "a worker called worker-1 is alive" in second.output()
    crowd.wait()
    assert first.alive
    yard.judge()


def test_the_name_of_a_dead_worker_is_free_at_once(yard: Yard) -> None:
    """Long before its silence would tell."""
    yard.terms = Terms(executions=2)
    yard.start_router()
    first = yard.start_worker("worker-1")
    crowd = yard.crowd()
    asked = yard.request("sleep 0.5")
    crowd.ask(asked)
    yard.await_running(asked)
    first.kill()
    yard.start_worker("worker-1", serving=False).wait_for("serving")
    crowd.wait()
    yard.judge()


@pytest.mark.soak
def test_a_stopped_worker_keeps_its_name_until_it_is_lost(yard: Yard) -> None:
    yard.start_router(liveness_s=3)
    first = yard.start_worker("worker-1")
    first.send(signal.SIGSTOP)
    second = yard.start_worker("worker-1", serving=False)
    second.wait_for("is alive: .*; asking again")
    yard.router.wait_for("worker-1 is lost")
    second.wait_for("serving")
    first.send(signal.SIGCONT)
    first.wait_for("is alive")
    crowd = yard.crowd()
    crowd.ask(*yard.requests(4))
    yard.judge()
