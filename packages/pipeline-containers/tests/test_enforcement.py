"""What is enforced without root: by the cgroups that were handed over, in trees made up here.

Version 2 has only these: no machine of this project's mounts its controllers there.
"""

from pathlib import Path

import pytest

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.cgroups import UNIFIED, Hierarchies
from pipeline_containers.sandbox.delegation import closed_limits, parse_own_cgroups, tops_for
from pipeline_containers.sandbox.enforcement import FULL, NAMES, Enforcement, find_enforcement
from pipeline_containers.sandbox.ids import OWN_ONLY, SUBORDINATE

OWN = "4:memory:/a/b\n3:cpu,cpuacct:/a\n2:name=systemd:/user/x\n0::/user.slice/run.scope/room\n"


def test_own_cgroups_by_every_name_of_their_hierarchy() -> None:
    own = parse_own_cgroups(OWN + "nonsense\n")
    assert own["memory"] == "/a/b"
    assert own["cpu"] == own["cpuacct"] == "/a"
    assert own["name=systemd"] == "/user/x"
    assert own[UNIFIED] == "/user.slice/run.scope/room"


def test_containers_lie_below_ones_own_cgroups_and_in_version_2_beside_it() -> None:
    mounts = {"memory": Path("/c/memory"), "pids": Path("/c/pids"), UNIFIED: Path("/c/u")}
    assert tops_for(Hierarchies(mounts), parse_own_cgroups(OWN)).mounts == {
        "memory": Path("/c/memory/a/b"),
        "pids": Path("/c/pids"),
        UNIFIED: Path("/c/u/user.slice/run.scope"),
    }


def hierarchy(folder: Path, *files: str) -> Path:
    """Make up a hierarchy, whose cgroups have files as the kernel gives them."""
    (folder / "own").mkdir(parents=True)
    for file in ("cgroup.procs", *files):
        (folder / "own" / file).touch()
    return folder


def test_version_1_has_all_limits_or_none(tmp_path: Path) -> None:
    mounts = {name: hierarchy(tmp_path / name) for name in ("memory", "pids", "cpu", "freezer")}
    assert closed_limits(Hierarchies(mounts), "own") == {}
    (mounts["freezer"] / "own/cgroup.procs").unlink()  # as if it was not this user's
    closed = closed_limits(Hierarchies(mounts), "own")
    assert closed == dict.fromkeys(("memory", "pids", "cpus"), mounts["freezer"])


def test_version_2_has_the_limits_of_the_controllers_that_were_handed_over(tmp_path: Path) -> None:
    top = hierarchy(tmp_path / "u", "memory.max", "pids.max")
    assert closed_limits(Hierarchies({UNIFIED: top}), "own") == {"cpus": top}
    (top / "own/cgroup.procs").unlink()
    assert set(closed_limits(Hierarchies({UNIFIED: top}), "own")) == {"memory", "pids", "cpus"}


def test_no_hierarchy_at_all_has_none() -> None:
    assert set(closed_limits(Hierarchies({}), "own")) == {"memory", "pids", "cpus"}


def test_what_is_missing_is_refused_each_with_its_reason_and_every_way_out() -> None:
    enforcement = find_enforcement(Hierarchies({}), "own", OWN_ONLY)
    assert tuple(enforcement.missing) == NAMES
    with pytest.raises(SandboxError) as refused:
        enforcement.require(["pids", "cpus"])
    said = str(refused.value)
    assert "memory: no limit can be set" in said
    assert "ids: jobs would run as this user" in said
    assert "pids:" not in said
    assert "Start it as root, or hand over what is missing (docs/sandbox.md" in said
    assert said.endswith("--allow-unenforced memory,ids")


def test_what_is_allowed_by_name_is_not_refused() -> None:
    find_enforcement(Hierarchies({}), "own", OWN_ONLY).require(NAMES)
    FULL.require([])


def test_what_holds_by_its_names_and_by_its_controllers() -> None:
    enforcement = find_enforcement(Hierarchies({}), "own", SUBORDINATE)
    assert enforcement.holds("ids")
    assert not enforcement.holds("memory")
    assert enforcement.controllers == frozenset()
    assert Enforcement({"cpus": "why"}).controllers == {"memory", "pids"}
