"""What is not enforced here is refused, each with its reason, unless it is allowed by name."""

import subprocess
import sys

import pytest

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.enforcement import (
    FULL,
    NAMES,
    Enforcement,
    find_enforcement,
    open_files_of_job,
    why_crashes_are_handled,
    why_files_run_out,
)
from pipeline_containers.sandbox.host.ids import OWN_ONLY, SUBORDINATE, host_range
from pipeline_containers.sandbox.host.rights import may_set_limits_of_others
from pipeline_containers.sandbox.limits import LEAST_OPEN_FILES, Limits
from pipeline_containers.system.units import GIB

CLOSED = dict.fromkeys(("memory", "pids", "cpus"), "no limit can be set below /x")


def test_what_is_missing_is_refused_each_with_its_reason_and_every_way_out() -> None:
    enforcement = find_enforcement(CLOSED, OWN_ONLY)
    assert tuple(enforcement.missing) == NAMES
    with pytest.raises(SandboxError) as refused:
        enforcement.require(["pids", "cpus"])
    said = str(refused.value)
    assert "memory: no limit can be set" in said
    assert "ids: jobs would run as this user" in said
    assert "pids:" not in said
    assert "Start it as root, or hand over what is missing (docs/sandbox.md" in said
    assert said.endswith("--allow-unenforced memory,ids")


def test_what_has_the_same_reason_is_named_together() -> None:
    with pytest.raises(SandboxError) as refused:
        find_enforcement(CLOSED, OWN_ONLY).require([])
    assert "enforce memory, pids, cpus: no limit can be set below /x; ids: " in str(refused.value)


def test_root_is_not_told_to_be_root() -> None:
    with pytest.raises(SandboxError, match="Hand over what is missing") as refused:
        find_enforcement(CLOSED, host_range(70_000)).require([])
    assert "as root" not in str(refused.value)


def test_what_is_allowed_by_name_is_not_refused() -> None:
    find_enforcement(CLOSED, OWN_ONLY).require(NAMES)
    FULL.require([])


def test_what_holds_by_its_names_and_by_its_controllers() -> None:
    enforcement = find_enforcement(CLOSED, SUBORDINATE)
    assert enforcement.holds("ids")
    assert not enforcement.holds("memory")
    assert enforcement.controllers == frozenset()
    assert Enforcement({"cpus": "why"}).controllers == {"memory", "pids"}


def test_all_jobs_together_leave_half_of_the_hosts_open_files() -> None:
    most, jobs, pids = 2_466_170, 4, Limits().pids
    of_process = open_files_of_job(most, jobs) // pids
    assert of_process >= LEAST_OPEN_FILES
    assert jobs * pids * of_process <= most // 2


def test_a_host_that_lets_too_few_files_be_open_is_told_how_many_are_enough() -> None:
    memory = 24 * GIB
    said = why_files_run_out(2_466_170, memory)
    assert said.startswith("the host lets 2466170 files be open")
    enough = int(said.rpartition("=")[2])
    assert why_files_run_out(enough, memory) == ""
    assert why_files_run_out(enough - 1, memory)
    assert why_files_run_out(2**63 - 1, memory) == "", "what systemd sets"


@pytest.mark.parametrize(
    ("ceilings", "pattern", "said"),
    [
        ({}, "|/usr/lib/handler %P\n", ""),
        ({"RLIMIT_CORE": 1}, "|/usr/lib/handler %P\n", ""),
        ({"RLIMIT_CORE": 0}, "core\n", ""),
        ({"RLIMIT_CORE": 0}, "|/usr/lib/handler %P\n", "has /usr/lib/handler started"),
        ({"RLIMIT_CORE": 1}, "@/run/core.socket\n", "is told to the socket /run/core.socket, "),
    ],
)
def test_a_worker_that_cannot_keep_the_crash_handler_away_says_so(
    ceilings: dict[str, int], pattern: str, said: str
) -> None:
    why = why_crashes_are_handled(ceilings, pattern)
    assert said in why
    assert bool(said) == bool(why)


def test_a_limit_of_core_dumps_of_nothing_is_raised_where_it_may_be() -> None:
    program = "from pipeline_containers.sandbox.host.enforcement import host_ceilings as read\n"
    program += "print(read()['RLIMIT_CORE'])"
    command = ["prlimit", "--core=0:0", "--", sys.executable, "-c", program]
    without = ["setpriv", "--bounding-set=-sys_resource", *command[2:]]
    raised, kept = (
        subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
        for call in (command, ["prlimit", "--core=0:0", *without])
    )
    assert (raised, kept) == ("1" if may_set_limits_of_others() else "0", "0")
