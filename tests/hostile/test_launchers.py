"""Jobs that the native launcher starts: a part of the hostile cases here, all of them in a soak."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile.case import Case
from hostile.families import FAMILIES
from hostile.lab import HostileLab
from hostile.ordinary import User, ordinary_user
from hostile.test_families import play
from hostile.traces import Traces
from support.images import Image
from support.processes import BIN, machine

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
TRIED = ("privileges", "leftovers")
"""The families that what starts a container has most to do with."""
CASES = [
    pytest.param(case, id=f"{family}-{case.name}".replace(" ", "-"))
    for family in TRIED
    for case in FAMILIES[family]
]


@pytest.fixture(scope="module")
def lab(module_folder: Path, hostile_image: Image) -> Iterator[HostileLab]:
    with machine(module_folder) as own:
        lab = HostileLab(own, hostile_image)
        worker = lab.start_worker("--launcher", "native")
        worker.wait_for("launcher: native")
        yield lab
        assert lab.odd_in_logs() == []


@pytest.fixture(scope="module")
def before(lab: HostileLab) -> Traces:
    return lab.at_rest()


@pytest.mark.parametrize("case", CASES)
def test_whatever_a_job_does(lab: HostileLab, before: Traces, case: Case) -> None:
    play(lab, before, case)


@pytest.fixture(params=[True, False], ids=["all given", "nothing given"])
def user(request: pytest.FixtureRequest, module_folder: Path) -> Iterator[User]:
    folder = module_folder / f"user-{request.param}"
    with ordinary_user(folder, has_ids=request.param, has_cgroups=request.param) as user:
        yield user


def test_a_user_s_jobs_are_started_by_it_as_by_runc(user: User, module_folder: Path) -> None:
    """What both see is compared where the sandbox is opened."""
    if not user.may_make_namespaces():
        pytest.skip("this machine lets no user make namespaces")
    work = module_folder / f"work-{user.number}"
    user.owns(work)
    doctor = [str(BIN / "pipeline-containers"), "doctor", "--work", str(work)]
    allowed = ["--allow-unenforced", "memory,pids,cpus,ids"]
    for launcher in ("native", "auto"):
        asked = [*user.under(), *doctor, *allowed, "--launcher", launcher]
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
        (line,) = [line for line in said.stdout.splitlines() if "self-test" in line]
        assert line.startswith("ok"), said.stdout
        assert line.endswith("by native"), said.stdout


SUITES = {
    "the sandbox's": ["packages/pipeline-containers/tests"],
    "hostile": ["tests/hostile", "--ignore", "tests/hostile/test_launchers.py"],
    "deaths": ["tests/hostile/test_death.py", "-m", "soak"],
    "users": ["tests/hostile/test_rootless.py", "-m", "soak or not soak"],
}


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_all_that_is_tried_with_runc(suite: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *suite],
        cwd=ROOT,
        env={**os.environ, "PIPELINE_LAUNCHER": "native", "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
