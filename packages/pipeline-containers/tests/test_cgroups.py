"""Cgroups of every version, and what the ending of a run is judged by."""

from pathlib import Path

import pytest

from pipeline_containers.sandbox.host import cgroups
from pipeline_containers.sandbox.host.cgroups import (
    CgroupCounters,
    Peaks,
    SocketWatch,
    bound_sockets,
    change_limits,
    lift_cpu_quota,
    parse_counter,
    read_counters,
    remove_if_empty,
    sockets_are_apart,
    swap_is_counted,
)
from pipeline_containers.sandbox.host.hierarchies import UNIFIED, Hierarchies, parse_hierarchies
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import Ending, Evidence, classify, describe_limit
from pipeline_containers.system.files import write_kernel
from pipeline_containers.system.units import MIB

HYBRID = """\
22 1 0:20 / /sys rw - sysfs sysfs rw
30 22 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 22 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 22 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 22 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
nonsense
"""
PURE = "30 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
ODD = "30 22 0:26 / /sys/fs/a\\040b rw - cgroup2 cgroup2 rw\n"


def test_a_hybrid_host() -> None:
    found = parse_hierarchies(HYBRID)
    assert found.is_v1("memory")
    assert not found.is_v1("pids")
    assert found.folder("memory", "/p/a") == Path("/sys/fs/cgroup/memory/p/a")
    assert found.folder("cpuacct", "/p/a") == Path("/sys/fs/cgroup/cpu,cpuacct/p/a")
    assert found.folder("pids", "/p/a") == Path("/sys/fs/cgroup/unified/p/a")
    assert len(found.folders("/p")) == 4


def test_a_host_of_version_2() -> None:
    found = parse_hierarchies(PURE)
    assert found == Hierarchies({UNIFIED: Path("/sys/fs/cgroup")})
    assert found.folder("memory", "/p/a") == Path("/sys/fs/cgroup/p/a")
    assert parse_hierarchies(ODD).mounts[UNIFIED] == Path("/sys/fs/a b")


def test_a_host_without_cgroups() -> None:
    found = parse_hierarchies("")
    assert found.folder("memory", "/p") is None
    assert read_counters(found, "/p") == CgroupCounters()


@pytest.mark.parametrize(
    ("text", "key", "count"),
    [
        ("123\n", "", 123),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", "oom_kill", 2),
        ("low 0\nhigh 0\nmax 1\noom 1\noom_kill 3\n", "oom_kill", 3),
        ("max\n", "", None),
        ("", "", None),
        ("usage_usec 5 6\n", "usage_usec", None),
    ],
)
def test_counters_are_parsed(text: str, key: str, count: int | None) -> None:
    assert parse_counter(text, key) == count


def write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_counters_of_version_1(tmp_path: Path) -> None:
    mounts = {name: tmp_path / name for name in ("memory", "cpuacct", "cpu", "pids")}
    write(mounts["cpuacct"] / "p/a", {"cpuacct.usage": "1500000000"})
    write(
        mounts["memory"] / "p/a",
        {"memory.max_usage_in_bytes": "4096", "memory.oom_control": "under_oom 0\noom_kill 1\n"},
    )
    write(mounts["pids"] / "p/a", {"pids.peak": "9", "pids.events": "max 4\n"})
    assert read_counters(Hierarchies(mounts), "/p/a") == CgroupCounters(1.5, 4096, 1, 9, 4)


def test_counters_of_version_2(tmp_path: Path) -> None:
    files = {
        "cpu.stat": "usage_usec 1500000\nuser_usec 3\n",
        "memory.peak": "4096",
        "memory.events": "low 0\noom 2\noom_kill 1\n",
        "pids.peak": "9",
        "pids.events": "max 4\n",
    }
    write(tmp_path / "p/a", files)
    assert read_counters(Hierarchies({UNIFIED: tmp_path}), "/p/a") == CgroupCounters(
        1.5, 4096, 1, 9, 4
    )


def test_peaks_that_the_kernel_does_not_keep_are_those_that_were_seen(tmp_path: Path) -> None:
    cgroup = tmp_path / "p/a"
    write(cgroup, {"memory.current": "10\n", "pids.current": "2\n", "pids.peak": "7\n"})
    peaks = Peaks(Hierarchies({UNIFIED: tmp_path}), "/p/a")
    for seen in (4096, 9000, 512):
        write(cgroup, {"memory.current": f"{seen}\n"})
        peaks.look()
    (cgroup / "memory.current").unlink()
    peaks.look()
    assert peaks.complete(CgroupCounters(peak_pids=7)) == CgroupCounters(
        peak_pids=7, peak_memory_bytes=9000
    )
    assert peaks.complete(CgroupCounters(peak_memory_bytes=1)).peak_memory_bytes == 1


SOCKETS = "memory.kmem.tcp.usage_in_bytes"
STAT = "total_active_file {}\ntotal_inactive_file {}\nactive_file 999999999\n"


@pytest.mark.parametrize(
    ("sockets", "used", "files", "is_over"),
    [
        (0, 64 * MIB, 0, False),  # that alone is the kernel's affair
        (MIB - 1, 64 * MIB, 0, False),
        (2 * MIB, 64 * MIB, 0, True),
        (2 * MIB, 64 * MIB, MIB, False),
        (2 * MIB, 62 * MIB, 0, False),
        (65 * MIB, 8 * MIB, 3 * MIB, True),
    ],
)
def test_what_waits_in_sockets_counts_with_all_other_memory(
    tmp_path: Path, sockets: int, used: int, files: int, is_over: bool
) -> None:
    mounts = {"memory": tmp_path}
    write(tmp_path / "p/a", {SOCKETS: f"{sockets}\n", "memory.usage_in_bytes": f"{used}\n"})
    write(tmp_path / "p/a", {"memory.stat": STAT.format(files, files)})
    watch = SocketWatch(Hierarchies(mounts), "/p/a", Limits(memory_bytes=64 * MIB))
    assert watch.is_over() is is_over


def test_sockets_are_apart_in_version_1_alone(tmp_path: Path) -> None:
    write(tmp_path / "p", {"memory.kmem.tcp.limit_in_bytes": "1\n"})
    assert sockets_are_apart(Hierarchies({"memory": tmp_path}), "/p")
    assert not sockets_are_apart(Hierarchies({UNIFIED: tmp_path}), "/p")
    assert not sockets_are_apart(Hierarchies({"memory": tmp_path}), "/elsewhere")
    limits = Limits(memory_bytes=64 * MIB)
    bound_sockets(Hierarchies({"memory": tmp_path}), "/p", limits)
    assert (tmp_path / "p/memory.kmem.tcp.limit_in_bytes").read_text() == str(64 * MIB)


def test_the_peak_has_that_of_the_sockets_in_it(tmp_path: Path) -> None:
    write(
        tmp_path / "p/a",
        {"memory.max_usage_in_bytes": "100\n", "memory.kmem.tcp.max_usage_in_bytes": "11\n"},
    )
    assert read_counters(Hierarchies({"memory": tmp_path}), "/p/a").peak_memory_bytes == 111


CHANGED = Limits(memory_bytes=64 * MIB, cpus=0.5, pids=32)


@pytest.mark.parametrize("was", [32 * MIB, 128 * MIB])
def test_limits_change_in_version_1(
    tmp_path: Path, was: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = {name: tmp_path / name for name in ("memory", "cpu", "pids")}
    memory, together = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
    write(mounts["memory"] / "p/a", {memory: f"{was}\n", together: f"{was}\n"})
    write(mounts["cpu"] / "p/a", {})
    write(mounts["pids"] / "p/a", {})
    written: list[str] = []

    def note(path: Path, text: str) -> None:
        written.append(path.name)
        write_kernel(path, text)

    monkeypatch.setattr(cgroups, "write_kernel", note)
    change_limits(Hierarchies(mounts), "/p/a", CHANGED)
    first = [together, memory] if was < CHANGED.memory_bytes else [memory, together]
    assert written[:2] == first
    assert (mounts["memory"] / "p/a" / memory).read_text() == str(64 * MIB)
    assert (mounts["memory"] / "p/a" / together).read_text() == str(64 * MIB)
    assert (mounts["pids"] / "p/a/pids.max").read_text() == "32"
    assert (mounts["cpu"] / "p/a/cpu.cfs_quota_us").read_text() == "50000"
    assert (mounts["cpu"] / "p/a/cpu.shares").read_text() == "512"


def test_limits_change_in_version_1_without_an_account_of_swap(tmp_path: Path) -> None:
    folder = tmp_path / "p/a"
    write(folder, {"memory.limit_in_bytes": "1"})
    change_limits(Hierarchies(dict.fromkeys(("memory", "cpu", "pids"), tmp_path)), "/p/a", CHANGED)
    assert (folder / "memory.limit_in_bytes").read_text() == str(64 * MIB)
    assert not (folder / "memory.memsw.limit_in_bytes").exists()


def test_limits_change_in_version_2(tmp_path: Path) -> None:
    write(tmp_path / "p/a", {})
    change_limits(Hierarchies({UNIFIED: tmp_path}), "/p/a", CHANGED)
    found = {file.name: file.read_text() for file in (tmp_path / "p/a").iterdir()}
    assert found == {
        "memory.max": str(64 * MIB),
        "pids.max": "32",
        "cpu.max": "50000 100000",
        "cpu.weight": "20",
    }


def test_limits_that_cannot_be_held_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no hierarchy has the controller memory"):
        change_limits(Hierarchies({"cpu": tmp_path}), "/p/a", CHANGED)


@pytest.mark.parametrize(
    ("mounted", "file", "text"),
    [("cpu", "cpu.cfs_quota_us", "-1"), (UNIFIED, "cpu.max", "max")],
)
def test_the_quota_is_lifted_for_the_dying(
    tmp_path: Path, mounted: str, file: str, text: str
) -> None:
    write(tmp_path / "p/a", {file: "1"})
    lift_cpu_quota(Hierarchies({mounted: tmp_path}), "/p/a")
    assert (tmp_path / "p/a" / file).read_text() == text


def test_whether_swap_is_counted(tmp_path: Path) -> None:
    unified = Hierarchies({UNIFIED: tmp_path})
    assert not swap_is_counted(Hierarchies({}), "/p")
    assert not swap_is_counted(unified, "/p")
    write(tmp_path / "p", {"memory.swap.max": "max"})
    assert swap_is_counted(unified, "/p")
    v1 = Hierarchies({"memory": tmp_path})
    assert not swap_is_counted(v1, "/p")
    write(tmp_path / "p", {"memory.memsw.limit_in_bytes": "1"})
    assert swap_is_counted(v1, "/p")


def test_a_parent_goes_only_when_it_is_empty(tmp_path: Path) -> None:
    hierarchies = Hierarchies({UNIFIED: tmp_path})
    (tmp_path / "p/a").mkdir(parents=True)
    remove_if_empty(hierarchies, "/p")
    assert (tmp_path / "p").exists()
    (tmp_path / "p/a").rmdir()
    remove_if_empty(hierarchies, "/p")
    assert not (tmp_path / "p").exists()


OOM = CgroupCounters(oom_kills=1)
PIDS = CgroupCounters(pids_refused=1)
BOTH = CgroupCounters(oom_kills=1, pids_refused=1)


@pytest.mark.parametrize(
    ("evidence", "ending"),
    [
        (Evidence(None, 0, CgroupCounters(), True), Ending.EXITED),
        (Evidence(None, 1, CgroupCounters(), True), Ending.EXITED),
        (Evidence(None, 0, CgroupCounters(), False), Ending.EXITED),
        (Evidence(None, 137, OOM, False), Ending.MEMORY_LIMIT),
        (Evidence(None, 137, OOM, True), Ending.MEMORY_LIMIT),
        (Evidence(None, 0, OOM, False), Ending.MEMORY_LIMIT),
        (Evidence(None, 0, OOM, True), Ending.EXITED),
        (Evidence(None, 1, PIDS, True), Ending.PIDS_LIMIT),
        (Evidence(None, 1, BOTH, False), Ending.MEMORY_LIMIT),
        (Evidence(None, 1, CgroupCounters(), False, {"job folder": "bytes"}), Ending.DISK_LIMIT),
        (Evidence(None, 0, CgroupCounters(), True, {"job folder": "bytes"}), Ending.EXITED),
        (Evidence(Ending.TIMED_OUT, 137, OOM, False), Ending.TIMED_OUT),
        (Evidence(Ending.CANCELLED, 137, CgroupCounters(), True), Ending.CANCELLED),
        (Evidence(Ending.OUTPUT_LIMIT, 0, CgroupCounters(), True), Ending.OUTPUT_LIMIT),
    ],
)
def test_endings(evidence: Evidence, ending: Ending) -> None:
    assert classify(evidence) is ending


def test_limits_are_named() -> None:
    limits = Limits(wall_s=6, pids=32)
    evidence = Evidence(Ending.TIMED_OUT, 137, PIDS, False)
    assert describe_limit(Ending.EXITED, evidence, limits) == ""
    assert describe_limit(Ending.CANCELLED, evidence, limits) == ""
    text = "wall time of 6 s (after 32 processes and threads)"
    assert describe_limit(Ending.TIMED_OUT, evidence, limits) == text
    assert describe_limit(Ending.PIDS_LIMIT, evidence, limits) == "32 processes and threads"
