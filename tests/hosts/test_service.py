"""A worker as a service of systemd: it serves, and a stop lets its jobs end."""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile.arena import SLOTS, Arena
from hostile.image import make_image
from hosts.started import call, service_command
from support.leftovers import sandbox_cgroups
from support.pace import paced
from support.processes import BIN, machine
from support.runtime import RUNTIME

pytestmark = [pytest.mark.vm, pytest.mark.e2e]

UNIT = "hosts-worker"


@pytest.fixture
def arena(shared_folder: Path) -> Iterator[Arena]:
    folder, helpers = shared_folder / "arena", shared_folder / "helpers"
    folder.mkdir(0o711)
    helpers.mkdir()
    with machine(folder) as own:
        yield Arena(own, make_image(helpers))


@pytest.fixture
def worker(arena: Arena) -> Iterator[subprocess.Popen[bytes]]:
    """Start it as docs/hosts.md says."""
    command = [
        *(str(BIN / "pipeline-worker"), "listen", "worker-1", f"{arena.own.address}/test_runners"),
        *(str(arena.worker_folder), "--slots", str(SLOTS), "--runtime", RUNTIME),
        *("--file-inputs", str(arena.inputs)),
    ]
    properties = ("Delegate=yes", "KillMode=mixed", "MemoryMax=1G", f"TimeoutStopSec={paced(60)}")
    with subprocess.Popen(service_command(command, *properties, name=UNIT)) as process:
        until = time.monotonic() + paced(60)
        while arena.ask(arena.honest_request("first")).code != 200:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.2)
        yield process
        call(["systemctl", "stop", UNIT])
        process.wait(paced(30))


def test_a_stopped_service_lets_its_jobs_end(arena: Arena, worker: subprocess.Popen[bytes]) -> None:
    assert arena.honest().code == 200
    places = {str(place.parent) for place in sandbox_cgroups(arena.worker_folder / "run")}
    assert places == {f"/sys/fs/cgroup/system.slice/{UNIT}.service"}
    program = f"touch here; sleep {paced(2):g}; pass ended"
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(
            arena.ask, arena.request(files={"program": program}, execution_timeout=paced(20))
        )
        arena.await_files("here")
        assert call(["systemctl", "stop", UNIT]).exit_status == 0
        answer = going.result()
    assert (answer.code, answer.text) == (200, "ended"), answer.reply
    assert worker.wait(paced(30)) == 0
    assert sandbox_cgroups(arena.worker_folder / "run") == []
