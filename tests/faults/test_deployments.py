"""Versions that come and go while there is work."""

import pytest
from faults.yard import HASTY_S, Yard

from pipeline_protocol import status


def test_deploy_and_unload_under_load(yard: Yard) -> None:
    """Other versions' jobs are not disturbed; what waits for an unloaded one is told so."""
    yard.start_router()
    yard.start_workers(2)
    crowd = yard.crowd(seats=24)
    steady = yard.requests(120, "sleep 0.05")
    crowd.ask(*steady)
    for round_ in range(6):
        version = f"round-{round_}"
        assert yard.deploy(version)["status"]["code"] == status.OK
        either = [status.OK, status.UNKNOWN_VERSION]
        changing = yard.requests(6, "sleep 0.05", version=version, codes=either)
        crowd.ask(*changing)
        yard.await_sent(changing)
        assert yard.deploy(version, "unload")["status"]["code"] == status.OK
    crowd.wait()
    assert {one.code for one in steady} == {status.OK}
    yard.judge()


@pytest.mark.soak
def test_a_version_that_no_worker_can_prepare_is_refused(yard: Yard) -> None:
    yard.start_router(liveness_s=HASTY_S)
    yard.start_workers(2)
    crowd = yard.crowd()
    assert yard.deploy("broken-1")["status"]["code"] == status.OK
    crowd.ask(*yard.requests(5, version="broken-1", codes=[status.NOT_READY], timeout_s=20))
    crowd.ask(*yard.requests(20))
    crowd.wait()
    yard.judge()


def test_a_worker_killed_while_versions_change_comes_back_with_the_right_ones(yard: Yard) -> None:
    yard.start_router()
    yard.start_workers(2)
    yard.worker("worker-1").kill()
    assert yard.deploy("v2")["status"]["code"] == status.OK
    assert yard.deploy("v1", "unload")["status"]["code"] == status.OK
    yard.start_worker("worker-1", serving=False)
    yard.await_ready("worker-1", "worker-2", version="v2")
    crowd = yard.crowd()
    crowd.ask(*yard.requests(20, version="v2"))
    crowd.ask(*yard.requests(5, version="v1", codes=[status.UNKNOWN_VERSION]))
    yard.judge()
