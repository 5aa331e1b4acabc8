"""The router dies and comes back, is told to stop, or is started twice."""

import signal
import subprocess

import pytest
from faults.history import Terms
from faults.yard import Yard
from support.pace import paced
from support.processes import BIN

from pipeline_protocol import status


@pytest.mark.soak
def test_killed_and_restarted_while_jobs_run(yard: Yard) -> None:
    """Workers go on; the next router meets their jobs with the requests sent again."""
    yard.terms = Terms(router_died=True)
    yard.start_router()
    yard.start_workers(2, slots=4)
    crowd = yard.crowd(resend_after_s=1)
    asked = yard.requests(8, "sleep 2.5")
    crowd.ask(*asked)
    for one in asked:
        yard.await_running(one)
    yard.router.kill()
    yard.start_router()
    crowd.wait()
    yard.judge()


def test_a_result_that_nobody_took_is_held_for_the_next_router(yard: Yard) -> None:
    yard.terms = Terms(router_died=True)
    yard.start_router()
    yard.start_workers(1)
    crowd = yard.crowd(resend_after_s=1)
    asked = yard.request("sleep 0.5")
    crowd.ask(asked)
    run = yard.await_running(asked)
    yard.router.kill()
    yard.await_ended(asked)
    assert not run.ended
    yard.start_router()
    crowd.wait()
    yard.judge()


def test_killed_and_restarted_under_load(yard: Yard) -> None:
    yard.terms = Terms(executions=3, router_died=True)
    yard.start_router()
    yard.start_workers(2)
    crowd = yard.crowd(seats=16, resend_after_s=1)
    crowd.ask(*yard.requests(90, "sleep 0.05"))
    for share in (25, 50):
        yard.await_answered(share)
        yard.router.kill()
        yard.start_router()
    crowd.wait()
    yard.judge()


def test_sigterm_under_load(yard: Yard) -> None:
    """What runs is finished, all else is told when to come back; exit 0, and nothing is lost."""
    yard.start_router()
    yard.start_workers(2)
    crowd = yard.crowd(seats=32)
    running = yard.requests(4, "sleep 1.5")
    crowd.ask(*running)
    for one in running:
        yard.await_running(one)
    waiting = yard.requests(10, codes=[status.NO_WORKER])
    crowd.ask(*waiting)
    yard.await_sent(waiting)
    yard.router.send(signal.SIGTERM)
    yard.await_answered(10)
    late = yard.requests(10, codes=[status.NO_WORKER])
    crowd.ask(*late)
    assert yard.router.wait(20) == 0
    crowd.wait()
    assert {one.code for one in running} == {status.OK}
    assert "shutting down" in str(late[-1].reply.status.error)
    yard.judge()


def test_workers_outlive_a_router_that_stopped(yard: Yard) -> None:
    yard.terms = Terms(router_died=True)
    yard.start_router()
    yard.start_workers(2)
    assert yard.router.stop() == 0
    yard.start_router()
    yard.await_ready("worker-1", "worker-2")
    crowd = yard.crowd()
    crowd.ask(*yard.requests(10))
    yard.judge()


def test_a_second_router_is_kept_out_and_the_first_does_not_notice(yard: Yard) -> None:
    """Whatever of the first one's it wants: its file, or one of its ports."""
    yard.start_router()
    yard.start_workers(1)
    crowd = yard.crowd(seats=4)
    crowd.ask(*yard.requests(60, "sleep 0.02"))
    mine, other = yard.folder / "pipeline.yml", yard.folder / "other.yml"
    for file, port, link_port in (
        (mine, 0, 0),
        (other, yard.own.port, 0),
        (other, 0, yard.own.link_port),
    ):
        ports = ("--port", str(port), "--link-port", str(link_port))
        second = subprocess.run(
            [BIN / "pipeline-router", file, "--seed", yard.write_seed("v1"), *ports],
            capture_output=True,
            text=True,
            timeout=paced(30),
            check=False,
        )
        assert second.returncode == 1
        assert "in use" in second.stderr.splitlines()[-1]
    crowd.wait()
    yard.judge()
