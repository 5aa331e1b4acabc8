"""The router dies and comes back, is told to stop, or is started twice."""

import signal
import subprocess

import pytest
from faults.history import Terms
from faults.lab import FaultLab
from support.pace import paced
from support.processes import BIN

from pipeline_protocol import status


@pytest.mark.soak
def test_killed_and_restarted_while_jobs_run(lab: FaultLab) -> None:
    """Workers go on; the next router meets their jobs with the requests sent again."""
    lab.terms = Terms(router_died=True)
    lab.start_router()
    lab.start_workers(2, slots=4)
    group = lab.group(resend_after_s=1)
    asked = lab.requests(8, "sleep 2.5")
    group.ask(*asked)
    for one in asked:
        lab.await_running(one)
    lab.router.kill()
    lab.start_router()
    group.wait()
    lab.judge()


def test_a_result_that_nobody_took_is_held_for_the_next_router(lab: FaultLab) -> None:
    lab.terms = Terms(router_died=True)
    lab.start_router()
    lab.start_workers(1)
    group = lab.group(resend_after_s=1)
    asked = lab.request("sleep 0.5")
    group.ask(asked)
    run = lab.await_running(asked)
    lab.router.kill()
    lab.await_ended(asked)
    assert not run.ended
    lab.start_router()
    group.wait()
    lab.judge()


def test_killed_and_restarted_under_load(lab: FaultLab) -> None:
    lab.terms = Terms(executions=3, router_died=True)
    lab.start_router()
    lab.start_workers(2)
    group = lab.group(seats=16, resend_after_s=1)
    group.ask(*lab.requests(90, "sleep 0.05"))
    for share in (25, 50):
        lab.await_answered(share)
        lab.router.kill()
        lab.start_router()
    group.wait()
    lab.judge()


def test_sigterm_under_load(lab: FaultLab) -> None:
    """What runs is finished, all else is told when to come back; exit 0, and nothing is lost."""
    lab.start_router()
    lab.start_workers(2)
    group = lab.group(seats=32)
    running = lab.requests(4, "sleep 1.5")
    group.ask(*running)
    for one in running:
        lab.await_running(one)
    waiting = lab.requests(10, codes=[status.NO_WORKER])
    group.ask(*waiting)
    lab.await_sent(waiting)
    lab.router.send(signal.SIGTERM)
    lab.await_answered(10)
    late = lab.requests(10, codes=[status.NO_WORKER])
    group.ask(*late)
    assert lab.router.wait(20) == 0
    group.wait()
    assert {one.code for one in running} == {status.OK}
    assert "shutting down" in str(late[-1].reply.status.error)
    lab.judge()


def test_workers_outlive_a_router_that_stopped(lab: FaultLab) -> None:
    lab.terms = Terms(router_died=True)
    lab.start_router()
    lab.start_workers(2)
    assert lab.router.stop() == 0
    lab.start_router()
    lab.await_ready("worker-1", "worker-2")
    group = lab.group()
    group.ask(*lab.requests(10))
    lab.judge()


def test_a_second_router_is_kept_out_and_the_first_does_not_notice(lab: FaultLab) -> None:
    """Whatever of the first one's it wants: its file, or one of its ports."""
    lab.start_router()
    lab.start_workers(1)
    group = lab.group(seats=4)
    group.ask(*lab.requests(60, "sleep 0.02"))
    mine, other = lab.folder / "pipeline.yml", lab.folder / "other.yml"
    for file, port, link_port in (
        (mine, 0, 0),
        (other, lab.own.port, 0),
        (other, 0, lab.own.link_port),
    ):
        ports = ("--port", str(port), "--link-port", str(link_port))
        second = subprocess.run(
            [BIN / "pipeline-router", file, "--seed", lab.write_seed("v1"), *ports],
            capture_output=True,
            text=True,
            timeout=paced(30),
            check=False,
        )
        assert second.returncode == 1
        assert "in use" in second.stderr.splitlines()[-1]
    group.wait()
    lab.judge()
