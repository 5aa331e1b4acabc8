"""Whether a host does what it has to: one job of every ending, a build, a deploy, a killed worker.

Short enough to be run in an emulated machine with each change: `./dev vm debian-12 smoke`.
"""

import os

import pytest
from hostile.case import Case
from hostile.lab import HostileLab
from hostile.test_families import check
from support.bash_track import BashTrack
from support.leftovers import find_leftovers

from pipeline_containers.sandbox.host.hierarchies import UNIFIED, find_cgroup_mounts

pytestmark = pytest.mark.e2e

ENDINGS = (
    Case("pass", "pass done", says=("^done$",)),
    Case("wall", "sleep 600", 401, ("wall time of",), wall_s=0.5),
    Case("memory", "bomb touched 256; exit 0", 403, ("memory of 67108864 bytes",)),
    Case("pids", "bomb forks & sleep 0.3; exit 1", 403, ("64 processes and threads",)),
    Case("output", "yes", 402, ("stdout of 65536 bytes",)),
    Case("disk", "head -c 100m /dev/zero > big", 403, ("job folder of",), wall_s=20),
)


@pytest.mark.parametrize("case", ENDINGS, ids=[case.name for case in ENDINGS])
def test_a_job_of_every_ending_with_its_counters(lab: HostileLab, case: Case) -> None:
    answer = lab.play(case)
    check(case, answer)
    usage = answer.reply["context"]["usage"]
    assert usage["cpu_s"] > 0
    assert usage["peak_memory_bytes"] > 0
    assert usage["peak_pids"] >= 1
    assert (usage["oom_kills"] > 0) == (case.name == "memory")
    if case.name == "memory":
        assert usage["peak_memory_bytes"] <= 64 << 20


def test_the_workers_host_is_described(lab: HostileLab) -> None:
    (worker,) = lab.say({"action": "describe_workers"})["response"]["workers"]
    assert worker["host"]["kernel"] == os.uname().release
    version = "version 1" if "memory" in find_cgroup_mounts() else "version 2"
    assert worker["host"]["cgroups"].startswith(version)
    assert worker["host"]["layers"] == "mapped mounts"
    assert worker["host"]["runtime"].split()[0] in ("runc", "crun")
    assert UNIFIED in find_cgroup_mounts() or version == "version 1"


def test_a_killed_worker_comes_back_and_has_cleared_what_it_left(lab: HostileLab) -> None:
    before = lab.at_rest()
    lab.worker.kill()
    lab.start_worker()
    assert lab.settle(before) == before


def test_a_build_a_deploy_and_a_result(track: BashTrack) -> None:
    for solution, status in (("passing", "pass"), ("failing", "fail")):
        reply = track.test(solution)
        assert (reply["status"]["code"], reply["response"]["status"]) == (200, status), reply


def test_nothing_is_left(lab: HostileLab, track: BashTrack) -> None:
    """The last test of the module: everything stops, cleanly."""
    for own in (lab.own, track.own):
        for process in reversed(own.processes):
            if process.alive:
                assert process.stop() == 0
        assert not find_leftovers(own.folder)
