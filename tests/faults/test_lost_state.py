"""A router whose state was lost, or is another's: workers keep their images until somebody says."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.lab import PATIENT_S, FaultLab
from faults.releasing import ReleaseLab, seed_of
from faults.waiting import await_that
from support.pace import paced
from support.processes import BIN, machine

from pipeline_protocol import status

pytestmark = pytest.mark.e2e
VERSIONS = ("v1", "v2", "v3")


@pytest.fixture
def lab(shared_folder: Path, request: pytest.FixtureRequest) -> Iterator[ReleaseLab]:
    with machine(shared_folder) as own:
        lab = ReleaseLab(own, seed_of(request.node.name))
        try:
            yield lab
        finally:
            own.stop()  # the last worker alive clears away what its containers leave
            lab.close()


@pytest.fixture
def digests(lab: ReleaseLab) -> list[str]:
    """Have a router and a worker with three versions; their digests."""
    digests = lab.publish(*VERSIONS)
    lab.start_router(deployed=VERSIONS)
    lab.run_worker()
    for version in VERSIONS:  # what is not ready yet is not known to be worth keeping
        lab.await_ready("worker-1", version=version)
    lab.await_stored(*digests)
    return digests


def pipeline(lab: FaultLab, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [BIN / "pipeline", *words, "--address", lab.address],
        capture_output=True,
        text=True,
        timeout=paced(60),
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def await_keeping(lab: ReleaseLab, digests: list[str], *words: str) -> None:
    """Wait until all say that the worker keeps images, and why; it has them a while later, too."""
    router, worker = lab.router, lab.worker("worker-1")
    router.wait_for("WARNING worker worker-1 keeps")
    worker.wait_for("WARNING keeps")
    code, shown = pipeline(lab, "status")
    assert code == 5
    for word in words:
        assert word in shown
        assert word in router.output()
        assert word in worker.output()
    lab.pause(2)
    assert lab.store().digests() == sorted(digests)


def lose_the_file(lab: ReleaseLab) -> None:
    """Have the router start again by `--seed`, where its file has gone."""
    assert pipeline(lab, "status")[0] == 0
    assert lab.router.stop() == 0
    lab.config.unlink()
    lab.start_router(deployed=())
    lab.router.wait_for(f"WARNING {lab.config} created from .* a new installation")


def test_a_router_whose_file_has_gone_wipes_no_worker(lab: ReleaseLab, digests: list[str]) -> None:
    """Until an operator has it forget, and through the worker's death."""
    lose_the_file(lab)
    await_keeping(lab, digests, "keeps 3 images", "is of installation", "forget-images")
    lab.worker("worker-1").kill()
    lab.run_worker(version="")
    await_that(lambda: pipeline(lab, "status")[0] == 5, what="kept by the next start")
    lab.pause(1)
    assert lab.store().digests() == sorted(digests)
    assert pipeline(lab, "forget-images", "worker-1")[0] == 0
    lab.await_stored()
    await_that(lambda: pipeline(lab, "status")[0] == 0, what="an end of it")
    lab.finish()


def test_a_deploy_takes_its_image_again_and_lets_the_tracks_others_go(
    lab: ReleaseLab, digests: list[str]
) -> None:
    lose_the_file(lab)
    await_keeping(lab, digests)
    assert lab.deploy("v2")["status"]["code"] == status.OK
    lab.await_ready("worker-1", version="v2")
    lab.tested("v2")
    lab.await_stored(digests[1])
    await_that(lambda: pipeline(lab, "status")[0] == 0, what="an end of it")
    lab.finish()


def test_an_old_copy_of_the_file_wipes_no_worker_either(lab: ReleaseLab) -> None:
    """The same installation, which wanted much less then."""
    digests = lab.publish(*VERSIONS)
    lab.start_router()
    old = lab.config.read_bytes()
    lab.run_worker()
    for version in VERSIONS[1:]:
        assert lab.deploy(version)["status"]["code"] == status.OK
        lab.await_ready("worker-1", version=version)
    new = lab.config.read_bytes()
    assert lab.router.stop() == 0
    lab.config.write_bytes(old)
    lab.start_router()
    await_keeping(lab, digests, "keeps 2 images", "3 versions were wanted, and 1 are")
    lab.tested("v1")
    assert lab.router.stop() == 0
    lab.config.write_bytes(new)
    lab.start_router()
    for version in VERSIONS:
        lab.await_ready("worker-1", version=version)
    await_that(lambda: pipeline(lab, "status")[0] == 0, what="an end of it")
    lab.finish()


def test_a_worker_that_comes_to_another_router_by_mistake_keeps_its_images(
    lab: ReleaseLab, digests: list[str], tmp_path: Path
) -> None:
    assert lab.worker("worker-1").stop() == 0
    with machine(tmp_path) as elsewhere:
        other = elsewhere.router(lab.write_seed(liveness_s=PATIENT_S))
        mistaken = lab.own.start(
            "mistaken",
            *(str(BIN / "pipeline-worker"), "listen", "worker-1"),
            *(f"{elsewhere.address}/test_runners", str(lab.folder / "worker-1")),
        )
        other.wait_for("WARNING worker worker-1 keeps 3 images")
        mistaken.wait_for("WARNING keeps 3 images")
        lab.pause(1)
        assert mistaken.stop() == 0
    assert lab.store().digests() == sorted(digests)
    lab.run_worker()
    for version in VERSIONS:
        lab.await_ready("worker-1", version=version)
    await_that(lambda: pipeline(lab, "status")[0] == 0, what="an end of it")
    lab.finish()
