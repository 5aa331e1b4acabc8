"""Alerts about hosts and builds fire: by a broken runtime, a full disk, a registry in the way."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bare import say
from support.flaky_runtime import write_runtime
from support.images import Image, Layer
from support.processes import Machine, machine
from support.prometheus import prometheus
from support.tracks import make_repository, write_seed

pytestmark = pytest.mark.e2e

TOOL = "bash-test-runner"
LISTENS = r"listening on http://127.0.0.1:(\d+) \(monitor\)"
MONITORED = ("--monitor", "127.0.0.1:0")
TRACK = {"track_slug": "bash", "channel": "test_runners"}
PASS = """\
#!/bin/sh
printf '{"version": 1, "status": "pass"}' > "$3results.json"
"""


@pytest.fixture
def own(shared_folder: Path) -> Iterator[Machine]:
    """Give a machine whose worker has a disk of its own, with room for few files."""
    disk = shared_folder / "worker-1"
    disk.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "nr_inodes=20k,mode=711", "none", disk], check=True
    )
    try:
        with machine(shared_folder) as started:
            yield started
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_broken_host_a_full_disk_and_builds_that_fail(own: Machine, base_images: Path) -> None:
    runtime = write_runtime(own.folder)
    make_repository(TOOL, own.folder / "repositories")
    layer = Layer().file("bin/sh", Path("/bin/busybox").read_bytes())
    layer.file("opt/test-runner/bin/run.sh", PASS)
    Image((layer.archive(),)).publish(own.folder / "registry", TOOL, "v1")
    router = own.router(write_seed(own.folder, own.folder / "repositories"), *MONITORED)
    options = ("--slots", "1", "--warm", "0", "--runtime", str(runtime))
    worker = own.worker("worker-1", "test_runners", *options, *MONITORED)
    ports = [int(process.wait_for(LISTENS)[1]) for process in (router, worker)]

    def ask(action: str, **fields: Any) -> dict[str, Any]:
        return say(own.address, {"action": action, **fields}, 60)

    with prometheus(own.folder / "prometheus", ports) as watched:
        assert ask("deploy_container_version", **TRACK, new_version="v1")["status"]["code"] == 200
        solution = {"exercise_slug": "a", "container_version": "v1", "files": {"a": "a"}}
        run = {"track_slug": "bash", **solution}
        good = ask("test_solution", id="1", **run)
        assert good["status"]["code"] == 200, ask("deployment_check", **TRACK)
        (own.folder / "broken").touch()
        assert ask("test_solution", id="2", **run)["status"]["code"] == 512
        watched.await_alert("PipelineWorkerInTrouble")
        filler = own.folder / "worker-1" / "filler"
        filler.mkdir()
        for number in range(11_000):
            (filler / str(number)).touch()
        watched.await_alert("PipelineDiskFull")
        shutil.rmtree(filler)
        watched.await_alert("PipelineDiskFull", fires=False)

        own.worker("builder-1", "builders", "--base-images", str(base_images))
        registry = own.folder / "registry" / TOOL
        registry.rename(registry.with_name("aside"))
        registry.write_text("in the way")
        for _ in range(3):
            built = ask("build_container", **TRACK, git_reference="master")
            assert built["status"]["code"] == 512, built
        watched.await_alert("PipelineBuildsFail")
