"""The client against the real router and workers, many at a time."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.waiting import await_that
from faults.yard import TESTS, Yard
from support.client_programs import connections
from support.processes import machine

from pipeline_client import PipelineClient, PlatformError
from pipeline_protocol.responses import Deployment, DeployState

AT_A_TIME = 1_000
PLACE = ("ruby", "test_runners")


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """A router and two workers that have a version ready."""
    with machine(tmp_path) as own:
        yard = Yard(own, 0)
        try:
            yard.start_router(queue=2 * AT_A_TIME)
            yard.start_workers(2, slots=4)
            yield yard
        finally:
            yard.close()


@pytest.fixture
def client(yard: Yard) -> Iterator[PipelineClient]:
    with PipelineClient(yard.address, timeout_s=60) as client:
        yield client


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_thousand_at_a_time_over_one_connection(
    yard: Yard, client: PipelineClient, how: str
) -> None:
    """In a process with fewer file descriptors than callers; all wait, then all are answered."""
    crowd = yard.crowd()
    blocking = yard.requests(8, "sleep 600")
    crowd.ask(*(yard.abandon(one) for one in blocking))
    for one in blocking:
        yard.await_running(one)
    client.ping()
    before = connections(yard.own.port)
    service = yard.own.start(
        f"service-{how}",
        *("/usr/bin/prlimit", "--nofile=64:64", "/usr/bin/env", f"PYTHONPATH={TESTS}"),
        *(sys.executable, "-m", "support.client_programs", how, yard.address, str(AT_A_TIME)),
    )

    def all_wait() -> bool:
        return client.status().channels["test_runners"].waiting == AT_A_TIME

    await_that(all_wait, 60, "a thousand waiting")
    assert connections(yard.own.port) == before + 1
    for one in blocking:
        assert client.cancel(one.id).cancelled == 1
    service.wait_for(f"^{AT_A_TIME} right\n", 60)
    assert service.wait() == 0


def test_deploy_that_is_waited_for(yard: Yard, client: PipelineClient) -> None:
    told: list[Deployment] = []
    done = client.deploy_container_version(*PLACE, "v2", wait=True, on_progress=told.append)
    assert done.state is DeployState.DEPLOYED
    assert done == told[-1]
    (version,) = [row for row in done.versions if row.version == "v2"]
    assert {worker.worker for worker in version.workers} == {"worker-1", "worker-2"}


def test_deploy_that_fails_everywhere(yard: Yard, client: PipelineClient) -> None:
    with pytest.raises(PlatformError) as caught:
        client.deploy_container_version(*PLACE, "broken", wait=True)
    assert caught.value.code == 511
    for worker in ("worker-1", "worker-2"):
        assert f"{worker} failed (it is broken)" in str(caught.value)


def test_deploy_that_nobody_serves(yard: Yard, client: PipelineClient) -> None:
    with pytest.raises(PlatformError, match="no worker serves ruby on representers") as caught:
        client.deploy_container_version("ruby", "representers", "v1", wait=True, timeout_s=600)
    assert caught.value.code == 503
