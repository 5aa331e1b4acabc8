"""Cgroups that a process cannot see are mounted anew for it alone."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from pipeline_containers.sandbox.host.cgroup_mounting import version_2_options
from pipeline_containers.sandbox.host.hierarchies import PLACE, find_cgroup_mounts, find_own
from pipeline_containers.system.mountinfo import unmount

pytestmark = pytest.mark.e2e

PROGRAM = """
from pathlib import Path
from pipeline_containers.sandbox.host import cgroup_mounting
from pipeline_containers.sandbox.host.hierarchies import find_cgroup_mounts
from pipeline_containers.sandbox.host.hierarchies import find_hierarchies, find_own
from pipeline_containers.sandbox.host.rootless import enter
print(len(find_hierarchies().mounts))
parse = cgroup_mounting.parse_mounts
ended = "9 1 0:9 /job /nowhere/cgroup ro - cgroup cgroup rw,memory"  # its container has just ended
cgroup_mounting.parse_mounts = lambda text: [*parse(ended), *parse(text)]
enter()
own, mounts = find_own(), find_cgroup_mounts()
print(len(mounts), all((mounts[name].folder(path) / "cgroup.procs").exists()
                       for name, path in own.items() if name in mounts))
"""


def cgroup_mounts() -> list[str]:
    """List how the host's cgroups are mounted, with the options that all mounts of them share."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if " - cgroup" in line and f" {PLACE}" in line]


@contextmanager
def a_containers_view(work: Path) -> Iterator[None]:
    """Show a part of each hierarchy somewhere, as a worker does for its containers."""
    own, mounts = find_own(), find_cgroup_mounts()
    parts: list[tuple[Path, Path]] = []
    for name in own.keys() & mounts.keys():
        part = mounts[name].place / work.name
        part.mkdir(exist_ok=True)
        target = work / f"view-{len(parts)}"
        target.mkdir()
        subprocess.run(["mount", "--bind", part, target], check=True)
        parts.append((part, target))
    try:
        yield
    finally:
        for part, target in parts:
            unmount(target)
            if part.exists():
                part.rmdir()


@pytest.mark.parametrize("showing", [nullcontext, a_containers_view])
def test_in_another_network_namespace_as_ip_netns_exec_enters_it(
    work: Path, showing: Callable[[Path], AbstractContextManager[None]]
) -> None:
    with showing(work):
        enter_another_network(work.name)


def enter_another_network(name: str) -> None:
    before = cgroup_mounts()
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        ran = subprocess.run(
            ["ip", "netns", "exec", name, sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    assert ran.returncode == 0, ran.stderr
    _, seen = ran.stdout.splitlines()
    count, is_own_there = seen.split()
    assert int(count) > 0
    assert is_own_there == "True"
    assert cgroup_mounts() == before


def test_the_options_of_version_2_are_kept() -> None:
    line = "30 21 0:25 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 {}\n"
    other = "21 26 0:19 / /sys rw - sysfs sysfs rw\n"
    assert version_2_options(other + line.format("rw,nsdelegate,memory_recursiveprot")) == (
        "nsdelegate,memory_recursiveprot"
    )
    assert version_2_options(other + line.format("rw")) == ""
    assert version_2_options(other) == ""
