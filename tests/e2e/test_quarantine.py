"""A worker whose host goes wrong takes itself out of the pool; the router sends it nothing more."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bare import say
from support.flaky_runtime import write_runtime
from support.images import Image, Layer
from support.pace import paced
from support.processes import Machine, machine

pytestmark = pytest.mark.e2e

SEED = "registry: {kind: folder, location: ./registry}\n"
TRACK = {"track_slug": "bash", "channel": "test_runners"}
PASS = """\
#!/bin/sh
printf '{"version": 1, "status": "pass"}' > "$3results.json"
"""


@pytest.fixture
def own(shared_folder: Path) -> Iterator[Machine]:
    with machine(shared_folder) as started:
        yield started


def test_a_broken_host_leaves_the_pool_and_says_why(own: Machine) -> None:
    runtime = write_runtime(own.folder)
    seed = own.folder / "seed.yml"
    seed.write_text(SEED)
    layer = Layer().file("bin/sh", Path("/bin/busybox").read_bytes())
    layer.file("opt/test-runner/bin/run.sh", PASS)
    Image((layer.archive(),)).publish(own.folder / "registry", "bash-test-runner", "v1")
    own.router(seed)
    worker = own.worker(
        "worker-1", "test_runners", "--slots", "1", "--warm", "0", "--runtime", str(runtime)
    )

    def ask(action: str, **fields: Any) -> dict[str, Any]:
        return say(own.address, {"action": action, **fields}, 60)

    def run(number: int) -> dict[str, Any]:
        solution = {"exercise_slug": "a", "container_version": "v1", "files": {"a": "a"}}
        return ask("test_solution", id=f"run-{number}", track_slug="bash", **solution)

    assert ask("deploy_container_version", **TRACK, new_version="v1")["status"]["code"] == 200
    assert run(1)["status"]["code"] == 200

    (own.folder / "broken").touch()
    broken = run(2)
    assert broken["status"]["code"] == 512, broken
    assert "create failed" in broken["status"]["error"]
    worker.wait_for(r"out of the pool: this host failed its check: \S+ create failed")
    until = time.monotonic() + paced(10)
    while not (seen := ask("describe_workers")["response"]["workers"][0])["draining"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert "create failed" in seen["trouble"]
    assert run(3)["status"]["code"] == 503
    (own.folder / "broken").unlink()
    assert worker.stop() == 0
