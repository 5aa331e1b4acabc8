"""No program of a job or a build has a core dump made, by the host's crash handler least of all.

A handler runs as the host's root, and is given the memory of whatever crashed. A limit of 0 bytes
does not keep the kernel from calling it: core(5).
"""

import fcntl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.building.builders import open_builders
from pipeline_containers.building.cell.cell import BuildHost
from pipeline_containers.sandbox.result.report import RunReport
from pipeline_containers.sandbox.sandbox import Sandbox

pytestmark = pytest.mark.e2e

PATTERN = Path("/proc/sys/kernel/core_pattern")
PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
CRASH = "sh -c 'echo crasher > /proc/$$/comm; kill -SEGV $$'"
"""By a name of its own: what else crashes on this host meanwhile is not meant."""
BEFORE = {
    "as it is": ":",
    "with the limit lowered": "ulimit -c 0",
    "with the limit raised": "ulimit -c unlimited",
    "with the soft limit lowered": "ulimit -S -c 0",
}


@pytest.fixture
def handled(work: Path) -> Iterator[Callable[[], int]]:
    """Have a crash handler on this host; count the crashes of these tests that it hears of."""
    calls, handler = work / "calls", work / "handler"
    handler.write_text(f'#!/bin/sh\necho "$1" >> {calls}\ncat > /dev/null\n')
    handler.chmod(0o755)
    with PATTERN.open() as lock:  # one test of this host at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = PATTERN.read_text()
        PATTERN.write_text(f"|{handler} %e")
        try:
            yield lambda: calls.read_text().split().count("crasher") if calls.exists() else 0
        finally:
            PATTERN.write_text(before)


def test_a_limit_of_zero_keeps_no_handler_from_running(handled: Callable[[], int]) -> None:
    """Else the tests below would show nothing."""
    script = f"ulimit -c 0; {CRASH}; exit 0"
    crashed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert handled() == 1
    assert "core dumped" in crashed.stderr


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_what_crashes_in_a_job_reaches_no_handler(
    run: Callable[..., RunReport], handled: Callable[[], int], before: str
) -> None:
    crash = f"({before}; exec {CRASH}) 2>&1; echo ended with $?"
    report = run(f"{crash}\nfind / -xdev -name 'core*' -size +0 -type f 2>/dev/null\n{PASS}")
    assert "ended with 139" in report.stdout
    assert "core dumped" not in report.stdout + report.stderr
    assert handled() == 0
    assert "/core" not in report.stdout


def test_what_crashes_in_a_build_reaches_no_handler(
    work: Path, base_images: Path, sandbox: Sandbox, handled: Callable[[], int]
) -> None:
    lines = [f"({before}; {CRASH}) || echo ended" for before in BEFORE.values()]
    (work / "context").mkdir()
    text = f"FROM localhost/pipeline-base/busybox:1\nRUN {'; '.join(lines)}\n"
    (work / "context/Dockerfile").write_text(text)
    said: list[str] = []
    builder = open_builders("buildah", work / "builder", BuildHost.of(sandbox), base_images).of("u")
    options = BuildOptions(network="none", timeout_s=paced(60))
    with builder.build(work / "context", "localhost/tool:1", options, on_line=said.append):
        assert said.count("ended") == len(BEFORE)
    assert "core dumped" not in "\n".join(said)
    assert handled() == 0


def test_no_limit_of_core_dumps_is_changed_in_a_job(run: Callable[..., RunReport]) -> None:
    report = run(f"ulimit -c 0; ulimit -c unlimited; grep 'Max core' /proc/self/limits; {PASS}")
    assert report.stdout.split()[4:6] == ["1", "1"]
    assert report.stderr == ""


def test_other_limits_are_changed_as_ever(run: Callable[..., RunReport]) -> None:
    script = "ulimit -n 100; ulimit -s 1024; ulimit -f 999; ulimit -v 99999; ulimit -l 7; ulimit -a"
    said = run(f"{script}; {PASS}").stdout
    for flag, value in {"-n": 100, "-s": 1024, "-f": 999, "-v": 99999, "-l": 7}.items():
        assert any(f"({flag})" in line and line.endswith(f" {value}") for line in said.split("\n"))
