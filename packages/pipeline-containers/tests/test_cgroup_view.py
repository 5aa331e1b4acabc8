"""What a container is shown of its cgroup, in each version: its own, and read-only."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox.container import mounts
from pipeline_containers.sandbox.host.cgroup_view import CgroupView, view_of
from pipeline_containers.sandbox.host.hierarchies import UNIFIED, Hierarchies, find_hierarchies
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import RunReport
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system import syscalls
from pipeline_containers.system.units import MIB

PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
Run = Callable[..., RunReport]
MakeImage = Callable[..., StoredImage]

TOP = Path("/sys/fs/cgroup")


def hierarchies(**mounts: str) -> Hierarchies:
    return Hierarchies({name: TOP / place for name, place in mounts.items()})


def test_version_2_is_the_cgroup_itself() -> None:
    view = view_of(Hierarchies({UNIFIED: TOP}), "/a.service/pipeline-1/job-1")
    assert view == CgroupView(TOP / "a.service/pipeline-1/job-1")
    assert view.sources() == [TOP / "a.service/pipeline-1/job-1"]


def test_version_1_is_a_folder_for_each_hierarchy_of_a_limit() -> None:
    own = hierarchies(memory="memory", cpu="cpu", cpuacct="cpuacct", cpuset="cpuset", pids="pids")
    others = hierarchies(blkio="blkio", freezer="freezer", devices="devices")
    named = {"name=systemd": TOP / "systemd", "name=secret": TOP / "secret"}
    view = view_of(Hierarchies({**own.mounts, **others.mounts, **named}), "p/job-1")
    assert view is not None
    assert view == CgroupView(
        folders={
            name: TOP / name / "p/job-1" for name in ("memory", "cpu", "cpuacct", "cpuset", "pids")
        }
    )
    assert view.sources() == list(view.folders.values())


def test_hierarchies_of_several_controllers_are_mounted_once() -> None:
    joined = hierarchies(cpu="cpu,cpuacct", cpuacct="cpu,cpuacct", memory="memory")
    view = view_of(joined, "p/job-1")
    assert view is not None
    assert view.folders == {
        "memory": TOP / "memory/p/job-1",
        "cpu,cpuacct": TOP / "cpu,cpuacct/p/job-1",
    }
    assert view.links == {"cpu": "cpu,cpuacct", "cpuacct": "cpu,cpuacct"}


def test_of_a_hybrid_host_the_hierarchies_with_controllers_are_shown() -> None:
    both = Hierarchies({**hierarchies(memory="memory").mounts, UNIFIED: TOP / "unified"})
    view = view_of(both, "p/job-1")
    assert view == CgroupView(folders={"memory": TOP / "memory/p/job-1"})


def test_without_cgroups_there_is_nothing_to_show() -> None:
    assert view_of(Hierarchies({}), "") is None
    assert view_of(hierarchies(memory="memory"), "") is None
    assert view_of(Hierarchies({}), "p/job-1") is None


SEEN = """
cd /sys/fs/cgroup
for f in memory.max memory/memory.limit_in_bytes; do [ ! -e $f ] || echo memory $(cat $f); done
for f in pids.max pids/pids.max; do [ ! -e $f ] || echo pids $(cat $f); done
[ ! -e cpu.max ] || echo cpu $(cat cpu.max)
[ ! -e cpu/cpu.cfs_quota_us ] || echo cpu $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us)
"""
"""Says the limits that are seen, whichever version has them."""


def seen(limits: Limits) -> str:
    quota = int(limits.cpus * 100_000)
    return f"memory {limits.memory_bytes}\npids {limits.pids}\ncpu {quota} 100000\n"


@pytest.mark.e2e
def test_a_tool_sees_its_own_limits(run: Run, quick_limits: Limits) -> None:
    limits = replace(quick_limits, memory_bytes=96 * MIB, cpus=0.75, pids=41)
    assert run(f"{SEEN}; {PASS}", limits=limits).stdout == seen(limits)


@pytest.mark.e2e
def test_a_warm_job_sees_its_own_limits_and_not_its_containers(
    open_sandbox: Callable[..., Sandbox], make_image: MakeImage, quick_limits: Limits
) -> None:
    image = make_image(f"{SEEN}; {PASS}")
    run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    lower = replace(quick_limits, memory_bytes=32 * MIB, cpus=0.5, pids=17)
    with open_sandbox(1) as sandbox:
        assert sandbox.run(run).stdout == seen(quick_limits)
        sandbox.settle()
        report = sandbox.run(replace(run, limits=lower))
    assert report.was_made_ahead
    assert report.stdout == seen(lower)


@pytest.mark.e2e
def test_nothing_of_the_host_or_of_other_jobs_is_seen(run: Run, work: Path) -> None:
    script = (
        "grep -r . /sys/fs/cgroup 2>/dev/null; cat /proc/self/mountinfo /proc/self/cgroup;"
        "find /sys/fs/cgroup; find /sys/fs/cgroup/*/ -mindepth 1 -type d -exec echo below {} ';';"
        f"echo; cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; {PASS}"
    )
    report = run(script)
    assert "memory" in report.stdout
    for name in (work.name, "pipeline-", "job-", "release_agent", "below"):
        assert name not in report.stdout
    shown = {line.split()[4]: line.split()[3] for line in lines_of(report.stdout, " cgroup ")}
    assert shown == dict.fromkeys(shown, "/")
    assert not any(place.endswith("systemd") for place in shown)
    pids = [int(line) for line in report.stdout.rpartition("\n\n")[2].split()]
    assert pids
    assert max(pids) < 100, "as its own namespace counts them"


def lines_of(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line and " - " in line]


@pytest.mark.e2e
@pytest.mark.parametrize("user", ["", "app"])
def test_nothing_in_it_can_be_written(run: Run, user: str) -> None:
    script = (
        "cd /sys/fs/cgroup; for f in $(find . -type f); do\n"
        "  (echo 1 > $f) 2>/dev/null && echo written $f\n"
        "  (chmod 777 $f) 2>/dev/null && echo changed $f\n"
        "done\n"
        "for d in . $(find . -type d); do\n"
        "  (mkdir $d/new) 2>/dev/null && echo made $d; (: > $d/file) 2>/dev/null && echo made $d\n"
        f"done; find . -type f | wc -l; {PASS}"
    )
    report = run(script, config=ImageConfig(user=user))
    assert report.succeeded
    assert report.stdout.strip().isdigit(), report.stdout
    assert int(report.stdout) > 20


@pytest.mark.e2e
def test_where_it_cannot_be_mounted_it_stays_hidden_and_that_is_said(
    open_sandbox: Callable[..., Sandbox],
    make_image: MakeImage,
    quick_limits: Limits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = view_of(find_hierarchies(), "a")
    assert view is not None
    hides = view.whole is None  # of version 2, nothing is mounted but by the runtime

    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, "no mounts today")

    run = ToolRun(
        make_image(f"find /sys/fs/cgroup; {PASS}"),
        TOOLS["test_runner"],
        "a",
        lambda _: None,
        quick_limits,
    )
    with monkeypatch.context() as patched:
        patched.setattr(syscalls, "mount_setattr", fail)
        opened = open_sandbox(launcher="runc")  # the launcher is proved there, by containers
    with opened as sandbox:
        said = any("do not see their own limits: [Errno 1]" in note for note in sandbox.notes())
        assert said is hides
        assert (sandbox.run(run).stdout == "/sys/fs/cgroup\n") is hides
    with open_sandbox() as sandbox:
        assert not any("their own limits" in note for note in sandbox.notes())
        assert "memory" in sandbox.run(run).stdout


@pytest.mark.e2e
def test_of_a_container_that_could_not_be_made_nothing_stays(
    sandbox: Sandbox,
    make_image: MakeImage,
    quick_limits: Limits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, "no mounts today")

    monkeypatch.setattr(mounts, "mount_cgroup_view", fail)
    run = ToolRun(make_image(PASS), TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    with pytest.raises(OSError, match="no mounts today"):
        sandbox.run(run)
    sandbox.settle()
