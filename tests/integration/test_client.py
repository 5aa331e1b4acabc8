"""The client against the real router and workers, many at a time."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from faults.lab import TESTS, FaultLab
from faults.waiting import await_that
from support.client_programs import connections
from support.processes import machine

from pipeline_client import PipelineClient, PipelineError, PlatformError, Retries
from pipeline_protocol.responses import Deployment, DeployState

AT_A_TIME = 1_000
PLACE = ("ruby", "test_runners")
NAMES = ("ruby", "two-fer", "v1")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[FaultLab]:
    """A router and two workers that have a version ready."""
    with machine(tmp_path) as own:
        lab = FaultLab(own, 0)
        try:
            lab.start_router(queue=2 * AT_A_TIME)
            lab.start_workers(2, slots=4)
            yield lab
        finally:
            lab.close()


@pytest.fixture
def client(lab: FaultLab) -> Iterator[PipelineClient]:
    with PipelineClient(lab.address, timeout_s=60, resend_after_s=60) as client:
        yield client


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_thousand_at_a_time_over_one_connection(
    lab: FaultLab, client: PipelineClient, how: str
) -> None:
    """In a process with fewer file descriptors than callers; all wait, then all are answered."""
    group = lab.group()
    blocking = lab.requests(8, "sleep 600")
    group.ask(*(lab.abandon(one) for one in blocking))
    for one in blocking:
        lab.await_running(one)
    service = lab.own.start(
        f"service-{how}",
        *("/usr/bin/prlimit", "--nofile=64:64", "/usr/bin/env", f"PYTHONPATH={TESTS}"),
        *(sys.executable, "-m", "support.client_programs", how, lab.address, str(AT_A_TIME)),
    )

    def all_wait() -> bool:
        return client.status().channels["test_runners"].waiting == AT_A_TIME

    await_that(all_wait, 60, "a thousand waiting")
    assert connections(service.pid, lab.own.port) == 1
    for one in blocking:
        assert client.cancel(one.id).cancelled == 1
    service.wait_for(f"^{AT_A_TIME} right\n", 60)
    assert service.wait() == 0


class Watched(Retries, frozen=True):
    """Tells of each refusal."""

    refused: list[int] = msgspec.field(default_factory=list)

    def pause_s(self, error: PipelineError, attempt: int, chance: float) -> float | None:
        self.refused.append(error.code)
        return super().pause_s(error, attempt, chance)


def test_more_than_the_router_lets_wait_is_tried_again(lab: FaultLab) -> None:
    """All are refused at first, with 503: who asks sees none of it."""
    lab.router.stop()
    lab.config.unlink()
    lab.start_router(queue=0)
    lab.await_ready("worker-1", "worker-2")
    group = lab.group()
    blocking = lab.requests(8, "sleep 600")
    group.ask(*(lab.abandon(one) for one in blocking))
    for one in blocking:
        lab.await_running(one)
    retries = Watched(attempts=100)
    files = [{"plan": "", "token": str(number)} for number in range(8)]
    with (
        PipelineClient(lab.address, timeout_s=100, retries=retries) as client,
        ThreadPoolExecutor(len(files)) as pool,
    ):
        runs = [pool.submit(client.test_solution, *NAMES, files=each) for each in files]
        await_that(lambda: len(retries.refused) >= len(files), what="all refused")
        for one in blocking:
            client.cancel(one.id)
        tokens = [run.result(60).response["token"] for run in runs]
    assert tokens == [each["token"] for each in files]
    assert set(retries.refused) == {503}


def test_folder_is_sent_along(lab: FaultLab, client: PipelineClient, tmp_path: Path) -> None:
    folder = tmp_path / "solution"
    folder.mkdir()
    (folder / "plan").write_text("")
    (folder / "token").write_text("of the folder")
    answer = client.test_solution(*NAMES, folder=folder)
    assert answer.response["token"] == "of the folder"


def test_deploy_that_is_waited_for(lab: FaultLab, client: PipelineClient) -> None:
    told: list[Deployment] = []
    done = client.deploy_container_version(*PLACE, "v2", wait=True, on_progress=told.append)
    assert done.state is DeployState.DEPLOYED
    assert done == told[-1]
    (version,) = [row for row in done.versions if row.version == "v2"]
    assert {worker.worker for worker in version.workers} == {"worker-1", "worker-2"}


def test_deploy_that_fails_everywhere(lab: FaultLab, client: PipelineClient) -> None:
    with pytest.raises(PlatformError) as caught:
        client.deploy_container_version(*PLACE, "broken", wait=True)
    assert caught.value.code == 511
    for worker in ("worker-1", "worker-2"):
        assert f"{worker} failed (it is broken)" in str(caught.value)


def test_deploy_that_nobody_serves(lab: FaultLab, client: PipelineClient) -> None:
    with pytest.raises(PlatformError, match="no worker serves ruby on representers") as caught:
        client.deploy_container_version("ruby", "representers", "v1", wait=True, timeout_s=600)
    assert caught.value.code == 503
