"""The configuration file: killed while it is saved, broken by somebody, on a disk that is full."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from faults.lab import FaultLab
from support.bare import say
from support.processes import Died

from pipeline_protocol import status


def deployed(file: Path) -> set[str]:
    data = yaml.safe_load(file.read_text())
    return set(data["versions"]["test_runners"]["ruby"])


def rounds(number: int, soak: int) -> list[object]:
    return [number, pytest.param(soak, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]


@pytest.mark.parametrize("kills", rounds(4, 60))
def test_killed_while_it_saves(lab: FaultLab, kills: int) -> None:
    """Whenever that is: every deploy that was answered is there, and the file is whole."""
    lab.start_router()
    answered = {"v1"}
    for kill in range(kills):
        address = lab.address
        dying = threading.Timer(lab.random.uniform(0.02, 0.15), lab.router.kill)
        dying.start()
        for number in range(80):  # a track has a hundred versions at most
            version = f"v{kill}-{number}"
            deploy = {
                "action": "update_container_versions",
                "track_slug": "ruby",
                "channel": "test_runners",
                "versions": sorted({*answered, version})[-50:],
            }
            try:
                reply = say(address, deploy, 0.3)
            except AssertionError:
                break  # it is dead
            assert reply["status"]["code"] == status.OK
            answered = set(deploy["versions"])
        dying.join()
        found = deployed(lab.folder / "pipeline.yml")
        assert found in (answered, set(deploy["versions"])), "the old or the new, never half"
        answered = found
        lab.start_router()
        assert lab.deploy("last")["status"]["code"] == status.OK
        answered |= {"last"}
    lab.judge()


def test_a_corrupt_configuration_is_not_read_and_not_overwritten(lab: FaultLab) -> None:
    """The last good one stays in force; work goes on; a deploy says what is wrong."""
    lab.start_router()
    lab.start_workers(1)
    group = lab.group()
    file = lab.folder / "pipeline.yml"
    good = file.read_bytes()
    for number, corrupt in enumerate((b"router: [", b"router: {queues: 1}", b"\0\1", b"\xff\xff")):
        file.write_bytes(corrupt)
        lab.router.send(signal.SIGHUP)
        lab.router.wait_for(f"(?s)(the last good one stays.*){{{number + 1}}}")
        told = lab.deploy("v2")
        assert told["status"]["code"] == status.SETUP_FAILED, told
        assert str(file) in told["status"]["error"]
        assert file.read_bytes() == corrupt, "what somebody wrote is theirs"
        group.ask(*lab.requests(5))
        group.wait()
    file.write_bytes(good)
    assert lab.deploy("v2")["status"]["code"] == status.OK
    assert deployed(file) == {"v1", "v2"}
    lab.judge()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_refuses_a_deploy_and_nothing_else(lab: FaultLab, small_disk: Path) -> None:
    file = small_disk / "pipeline.yml"
    lab.config = file
    lab.start_router()
    lab.start_workers(1)
    group = lab.group()
    before = file.read_bytes()
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(bytes(64 << 10))
    group.ask(*lab.requests(10, "sleep 0.02"))
    for number in range(3):
        told = lab.deploy(f"v-{number}")
        assert told["status"]["code"] == status.SETUP_FAILED, told
        for word in ("No space", str(file), f"the disk at {small_disk}: 0 of 0 MiB", "make room"):
            assert word in told["status"]["error"], word
    assert file.read_bytes() == before
    lab.router.wait_for(rf"configuration not saved: {file}: No space .* \(the disk at {small_disk}")
    group.wait()
    lab.router.stop()
    assert file.with_name("pipeline.yml.lock").read_bytes()
    lab.start_router()  # nothing has to be written for that
    ballast.unlink()
    lab.await_ready("worker-1")
    assert lab.deploy("v2")["status"]["code"] == status.OK
    assert deployed(file) == {"v1", "v2"}
    lab.judge()


def test_a_router_that_can_create_no_file_says_which_and_where(
    lab: FaultLab, small_disk: Path
) -> None:
    file = small_disk / "pipeline.yml"
    file.write_bytes(lab.write_seed("v1").read_bytes())
    subprocess.run(["mount", "-o", "remount,nr_inodes=2", small_disk], check=True)
    lab.config = file
    with pytest.raises(Died) as died:
        lab.start_router()
    said = str(died.value)
    assert "exited with 1" in said
    line = f"pipeline-router: {file}.lock: No space left on device (the disk at {small_disk}: "
    assert line in said
    assert "no room for another file): make room there" in said
