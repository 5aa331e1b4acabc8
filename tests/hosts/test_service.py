"""A worker as a service of systemd: it serves, and a stop lets its jobs end."""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile.image import make_image
from hostile.lab import SLOTS, HostileLab
from hosts.started import call, service_command
from support.leftovers import sandbox_cgroups
from support.pace import paced
from support.processes import BIN, machine
from support.runtime import RUNTIME

pytestmark = [pytest.mark.vm, pytest.mark.e2e]

UNIT = "hosts-worker"


@pytest.fixture
def lab(shared_folder: Path) -> Iterator[HostileLab]:
    folder, helpers = shared_folder / "lab", shared_folder / "helpers"
    folder.mkdir(0o711)
    helpers.mkdir()
    with machine(folder) as own:
        yield HostileLab(own, make_image(helpers))


@pytest.fixture
def worker(lab: HostileLab) -> Iterator[subprocess.Popen[bytes]]:
    """Start it as docs/hosts.md says."""
    command = [
        *(str(BIN / "pipeline-worker"), "listen", "worker-1", f"{lab.own.address}/test_runners"),
        *(str(lab.worker_folder), "--slots", str(SLOTS), "--runtime", RUNTIME),
        *("--file-inputs", str(lab.inputs)),
    ]
    properties = ("Delegate=yes", "KillMode=mixed", "MemoryMax=1G", f"TimeoutStopSec={paced(60)}")
    with subprocess.Popen(service_command(command, *properties, name=UNIT)) as process:
        until = time.monotonic() + paced(60)
        while lab.ask(lab.honest_request("first")).code != 200:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.2)
        yield process
        call(["systemctl", "stop", UNIT])
        process.wait(paced(30))


def test_a_stopped_service_lets_its_jobs_end(
    lab: HostileLab, worker: subprocess.Popen[bytes]
) -> None:
    assert lab.honest().code == 200
    places = {str(place.parent) for place in sandbox_cgroups(lab.worker_folder / "run")}
    assert places == {f"/sys/fs/cgroup/system.slice/{UNIT}.service"}
    program = f"touch here; sleep {paced(2):g}; pass ended"
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(
            lab.ask, lab.request(files={"program": program}, execution_timeout=paced(20))
        )
        lab.await_files("here")
        assert call(["systemctl", "stop", UNIT]).exit_status == 0
        answer = going.result()
    assert (answer.code, answer.text) == (200, "ended"), answer.reply
    assert worker.wait(paced(30)) == 0
    assert sandbox_cgroups(lab.worker_folder / "run") == []
