"""What jobs use up of the kernel's counts, the host's root still has."""

import subprocess
from pathlib import Path

import pytest
from hostile.case import Case
from hostile.families import counts
from hostile.image import TOOL
from hostile.lab import HostileLab

pytestmark = pytest.mark.e2e

CASES = [
    pytest.param(case, id=case.name.replace(" ", "-"))
    for case in counts.CASES
    if case.name in counts.BY_USER
]


@pytest.fixture(scope="module")
def count(module_folder: Path) -> Path:
    """Compile the jobs' program for the host."""
    program = module_folder / "count"
    subprocess.run(["gcc", "-o", str(program), str(TOOL / "count.c")], check=True)
    return program


@pytest.mark.parametrize("case", CASES)
def test_the_hosts_root_has_what_a_job_has_used_up(
    lab: HostileLab, count: Path, case: Case
) -> None:
    kind = case.program.split()[1]
    with lab.beside(case):
        said = subprocess.run([count, kind, "100"], capture_output=True, text=True, check=True)
        assert said.stdout == f"enough {kind}\n"
