"""A job's id is on every line about it, and a log of JSON has nothing but JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bare import say
from support.images import Image, Layer
from support.processes import Machine, Process, machine

pytestmark = pytest.mark.e2e

SEED = "registry: {kind: folder, location: ./registry}\n"
FAILS_ON_DEMAND = """\
#!/bin/sh
[ ! -e "$2/fail" ] || { echo 'line one of the tool' >&2; exit 9; }
printf '{"version": 1, "status": "pass"}' > "$3results.json"
"""


@pytest.fixture
def own(shared_folder: Path) -> Iterator[Machine]:
    with machine(shared_folder) as started:
        yield started


def about(process: Process, request: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.output().splitlines()]
    return [line for line in lines if line.get("request") == request]


def test_a_jobs_id_is_on_every_line_about_it(own: Machine) -> None:
    seed = own.folder / "seed.yml"
    seed.write_text(SEED)
    layer = Layer().file("bin/sh", Path("/bin/busybox").read_bytes())
    layer.file("opt/test-runner/bin/run.sh", FAILS_ON_DEMAND)
    Image((layer.archive(),)).publish(own.folder / "registry", "bash-test-runner", "v1")
    in_full = ("--log-format", "json", "--log-level", "debug")
    router = own.router(seed, *in_full)
    worker = own.worker("worker-1", "test_runners", "--slots", "1", *in_full)
    place = {"track_slug": "bash", "channel": "test_runners", "new_version": "v1"}
    say(own.address, {"action": "deploy_container_version", **place}, 60)

    def run(request: str, **files: str) -> int:
        solution = {"exercise_slug": "a", "container_version": "v1", "files": {"a": "a", **files}}
        message = {"action": "test_solution", "id": request, "track_slug": "bash", **solution}
        return int(say(own.address, message, 60)["status"]["code"])

    assert run("good") == 200
    assert run("bad", fail="yes") == 513
    assert worker.stop() == 0
    (good,) = about(worker, "good")
    assert (good["level"], good["process"]) == ("debug", "worker-1")
    (bad,) = about(worker, "bad")
    assert bad["level"] == "info"
    assert "513" in bad["message"]
    assert router.stop() == 0
    assert [json.loads(line) for line in router.output().splitlines()]
