"""What no job waits for weighs little against jobs, whatever this host has for that."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.sandbox.host.background import SHARES, Background
from pipeline_containers.sandbox.host.hierarchies import (
    UNIFIED,
    Hierarchies,
    find_hierarchies,
    parse_own_cgroups,
)
from pipeline_containers.sandbox.limits import Limits


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One that leads a session and, told to, starts another; both wait."""
    script = "read line; sleep 60 & echo $!; wait"
    with subprocess.Popen(
        ["/bin/sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        yield process
        if process.poll() is None:
            os.killpg(process.pid, 9)


def niceness(pid: int) -> str:
    """Read what its session counts for, where this kernel weighs sessions."""
    file = Path(f"/proc/{pid}/autogroup")
    return file.read_text().rpartition("nice ")[2].strip() if file.exists() else "10"


def test_a_process_and_what_it_starts_weigh_little_and_end_with_the_cgroup(
    process: subprocess.Popen[bytes], work: Path
) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    hierarchies = find_hierarchies()
    background = Background(hierarchies, f"/{work.name}")
    background.take(process.pid)
    process.stdin.write(b"go\n")
    process.stdin.flush()
    child = int(process.stdout.readline())
    for pid in (process.pid, child):
        own = parse_own_cgroups(Path(f"/proc/{pid}/cgroup").read_text())
        assert f"/{work.name}-background" in (own.get("cpu"), own.get(UNIFIED))
    folder = hierarchies.folder("cpu", f"/{work.name}-background")
    assert folder is not None
    if hierarchies.is_v1("cpu"):
        assert int((folder / "cpu.shares").read_text()) == SHARES < Limits(cpus=0.1).cpu_shares()
    background.remove()
    assert process.wait(timeout=paced(5)) == -9
    assert not folder.exists()
    background.remove()  # there is nothing to be removed


@pytest.mark.parametrize(
    ("names", "file", "weight"),
    [(("cpu", "memory"), "cpu.shares", SHARES), ((UNIFIED,), "cpu.weight", 4)],
)
def test_each_version_of_cgroups(
    tmp_path: Path, names: tuple[str, ...], file: str, weight: int
) -> None:
    hierarchies = Hierarchies({name: tmp_path / (name or "unified") for name in names})
    for mount in hierarchies.mounts.values():
        mount.mkdir()
    Background(hierarchies, "/p").take(os.getpid())
    folder = hierarchies.folder("cpu", "/p-background")
    assert folder is not None
    assert int((folder / file).read_text()) == weight
    assert int((folder / "cgroup.procs").read_text()) == os.getpid()


@pytest.mark.parametrize(
    "background",
    [
        Background(Hierarchies({}), ""),
        Background(Hierarchies({}), "/p"),
        Background(Hierarchies({"cpu": Path("/proc/none")}), "/p"),
    ],
    ids=["no cgroup is given", "no hierarchy is mounted", "it may not be written"],
)
def test_without_a_cgroup_its_session_counts_for_less(
    process: subprocess.Popen[bytes], background: Background
) -> None:
    background.take(process.pid)
    assert niceness(process.pid) == "10"
    background.remove()


def test_a_process_that_has_ended_is_no_trouble(work: Path) -> None:
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
    background = Background(find_hierarchies(), f"/{work.name}")
    background.take(ended.pid)
    background.remove()
