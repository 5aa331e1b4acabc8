"""Versions that come and go while there is work."""

import pytest
from faults.lab import HASTY_S, FaultLab

from pipeline_protocol import status


def test_deploy_and_unload_under_load(lab: FaultLab) -> None:
    """Other versions' jobs are not disturbed; what waits for an unloaded one is told so."""
    lab.start_router()
    lab.start_workers(2)
    group = lab.group(seats=24)
    steady = lab.requests(120, "sleep 0.05")
    group.ask(*steady)
    for round_ in range(6):
        version = f"round-{round_}"
        assert lab.deploy(version)["status"]["code"] == status.OK
        either = [status.OK, status.UNKNOWN_VERSION]
        changing = lab.requests(6, "sleep 0.05", version=version, codes=either)
        group.ask(*changing)
        lab.await_sent(changing)
        assert lab.deploy(version, "unload")["status"]["code"] == status.OK
    group.wait()
    assert {one.code for one in steady} == {status.OK}
    lab.judge()


@pytest.mark.soak
def test_a_version_that_no_worker_can_prepare_is_refused(lab: FaultLab) -> None:
    lab.start_router(liveness_s=HASTY_S)
    lab.start_workers(2)
    group = lab.group()
    assert lab.deploy("broken-1")["status"]["code"] == status.OK
    group.ask(*lab.requests(5, version="broken-1", codes=[status.NOT_READY], timeout_s=20))
    group.ask(*lab.requests(20))
    group.wait()
    lab.judge()


def test_a_worker_killed_while_versions_change_comes_back_with_the_right_ones(
    lab: FaultLab,
) -> None:
    lab.start_router()
    lab.start_workers(2)
    lab.worker("worker-1").kill()
    assert lab.deploy("v2")["status"]["code"] == status.OK
    assert lab.deploy("v1", "unload")["status"]["code"] == status.OK
    lab.start_worker("worker-1", serving=False)
    lab.await_ready("worker-1", "worker-2", version="v2")
    group = lab.group()
    group.ask(*lab.requests(20, version="v2"))
    group.ask(*lab.requests(5, version="v1", codes=[status.UNKNOWN_VERSION]))
    lab.judge()
