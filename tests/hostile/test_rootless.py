"""A worker that an ordinary user started: what the user was given holds, the rest is refused."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hostile.case import Case
from hostile.families import FAMILIES, counts, neighbours
from hostile.lab import HostileLab
from hostile.loosened import LIMITS, OWN
from hostile.ordinary import User, ordinary_user
from hostile.test_families import play
from hostile.traces import Traces
from support.images import Image
from support.pace import paced
from support.processes import BIN, Machine, machine

from pipeline_containers.sandbox.host.enforcement import NAMES

pytestmark = pytest.mark.e2e

NO_NAMESPACES = "lets no user (make|mount in) namespaces"
REASONS = {
    "memory": "no limit can be set below .*: that cgroup is not this user's",
    "pids": "no limit can be set below .*: that cgroup is not this user's",
    "cpus": "no limit can be set below .*: that cgroup is not this user's",
    "ids": "jobs would run as this user, in its groups: it has no subordinate ids",
}
NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "pids": {
        "processes": (
            "a fork bomb",
            "a fork bomb of shells",
            "a fork bomb that is left alone",
            "a thread bomb",
            "children that stay",
            "zombies",
        )
    },
    "memory": {
        "memory": tuple(case.name for case in FAMILIES["memory"] if case.code == 403),
    },
    "ids": {"privileges": ("identities that nobody has", "a set-user-ID program")},
}
"""THE table of what a user without cgroups and subordinate ids is refused: limit, family, cases."""

GIVEN = ("processes", "memory", "privileges", "leftovers", "neighbours")
"""The families that are tried where everything was given; the others, where nothing was."""


LEFT_OUT: dict[str, tuple[str, ...]] = {
    "neighbours": neighbours.OF_DEVICES,
    "counts": counts.BY_USER,
}
"""What does not hold without root, by family; docs/sandbox.md says so."""


def cases(*families: str) -> list[object]:
    return [
        pytest.param(case, id=f"{family}-{case.name}".replace(" ", "-"))
        for family in families
        for case in FAMILIES[family]
        if case.name not in LEFT_OUT.get(family, ())
    ]


@pytest.fixture(scope="module")
def given(module_folder: Path) -> Iterator[User]:
    with ordinary_user(module_folder / "given", has_ids=True, has_cgroups=True) as user:
        yield user


@pytest.fixture(scope="module")
def poor(module_folder: Path) -> Iterator[User]:
    with ordinary_user(module_folder / "nobody", has_ids=False, has_cgroups=False) as user:
        yield user


def begin(
    folder: Path, image: Image, user: User, *options: str, loosened: str = ""
) -> Iterator[HostileLab | None]:
    """Start a user's worker; none, and an honest refusal, where no user may have namespaces."""
    folder.mkdir()
    with machine(folder) as own:
        lab = HostileLab(own, image, user, loosened)
        if user.may_make_namespaces():
            lab.begin_worker(*options)
            warm_up(lab)
            yield lab
        else:
            assert_refused(own, user, NO_NAMESPACES, *options)
            yield None
    assert user.processes() == set()


def warm_up(lab: HostileLab) -> None:
    """See each track work that can here: afterwards all that is mounted and made ahead is there."""
    for track in ("unprivileged", "hasty", "hostile", "hostile"):
        if track != "unprivileged" or (lab.user and lab.user.first_subordinate):
            lab.honest(track)


def assert_refused(own: Machine, user: User, why: str, *options: str) -> None:
    """See a worker end at once, and say why, and what to do."""
    folder = own.folder / "refused"
    if not folder.exists():
        user.owns(folder)
    address = own.address if own.port else "tcp://127.0.0.1:5555"
    command = (str(BIN / "pipeline-worker"), "listen", "refused", f"{address}/test_runners")
    process = own.start("refused", *user.under(), *command, str(folder), *options)
    assert process.wait() == 1, process.output()
    process.wait_for(f"(?s){why}")
    process.wait_for("(?i)start it as root")


@pytest.fixture(scope="module")
def rich_lab(module_folder: Path, hostile_image: Image, given: User) -> Iterator[HostileLab | None]:
    yield from begin(module_folder / "rich", hostile_image, given)


@pytest.fixture(scope="module")
def poor_lab(module_folder: Path, hostile_image: Image, poor: User) -> Iterator[HostileLab | None]:
    allowed = ("--allow-unenforced", ",".join(NAMES))
    yield from begin(module_folder / "poor", hostile_image, poor, *allowed)


@pytest.fixture(scope="module")
def loosened_lab(
    module_folder: Path, hostile_image: Image, given: User
) -> Iterator[HostileLab | None]:
    yield from begin(module_folder / "loosened", hostile_image, given, loosened=LIMITS)


@pytest.fixture(scope="module")
def loosened_before(loosened_lab: HostileLab | None) -> Traces | None:
    return loosened_lab.at_rest() if loosened_lab else None


@pytest.fixture(scope="module")
def rich_before(rich_lab: HostileLab | None) -> Traces | None:
    return rich_lab.at_rest() if rich_lab else None


@pytest.fixture(scope="module")
def poor_before(poor_lab: HostileLab | None) -> Traces | None:
    return poor_lab.at_rest() if poor_lab else None


@pytest.mark.parametrize("case", cases(*GIVEN))
def test_all_holds_for_a_user_who_was_given_cgroups_and_ids(
    rich_lab: HostileLab | None, rich_before: Traces | None, case: Case
) -> None:
    if rich_lab and rich_before:
        play(rich_lab, rich_before, case)


@pytest.mark.parametrize("case", cases(*(family for family in FAMILIES if family not in GIVEN)))
def test_most_holds_for_a_user_who_was_given_nothing(
    poor_lab: HostileLab | None, poor_before: Traces | None, case: Case
) -> None:
    if poor_lab and poor_before:
        play(poor_lab, poor_before, case)


@pytest.mark.soak
@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name.replace(" ", "-")) for case in OWN]
)
def test_all_that_can_be_loosened_is_the_same_for_a_user(
    loosened_lab: HostileLab | None, loosened_before: Traces | None, case: Case
) -> None:
    if loosened_lab and loosened_before:
        play(loosened_lab, loosened_before, case)


def test_each_refusal_is_of_cases_that_there_are() -> None:
    for named in (*NEEDS.values(), LEFT_OUT):
        for family, names in named.items():
            assert set(names) <= {case.name for case in FAMILIES[family]}
            assert family in GIVEN or named is LEFT_OUT, "nobody would try them"


@pytest.mark.parametrize("limit", NAMES)
def test_what_cannot_be_enforced_is_refused_unless_it_is_allowed_by_name(
    shared_folder: Path, poor: User, limit: str
) -> None:
    others = ",".join(name for name in NAMES if name != limit)
    why = f"{limit}: {REASONS[limit]}" if poor.may_make_namespaces() else NO_NAMESPACES
    with machine(shared_folder) as own:
        (shared_folder / "seed.yml").write_text("registry: {kind: folder, location: ./registry}\n")
        own.router(shared_folder / "seed.yml")
        assert_refused(own, poor, why, "--allow-unenforced", others)
        if poor.may_make_namespaces():
            last = own.processes[-1].output()
            assert f"allow it by name: --allow-unenforced {limit}\n" in last


def test_an_image_for_another_user_is_refused_where_there_are_no_ids(
    poor_lab: HostileLab | None,
) -> None:
    if poor_lab:
        poor_lab.worker.wait_for("unprivileged v1 failed: .*no id 1000 here, only 0: give the")


def test_the_log_says_what_was_not_enforced(poor_lab: HostileLab | None) -> None:
    if poor_lab:
        for limit, reason in REASONS.items():
            poor_lab.worker.wait_for(f"not enforced here, as allowed: {limit}: {reason}")


@pytest.mark.parametrize("program", ["sleep 600", "bomb deaf", "setsid sleep 600 & sleep 600"])
def test_a_killed_worker_takes_its_jobs_along_and_rises_again(
    rich_lab: HostileLab | None, rich_before: Traces | None, given: User, program: str
) -> None:
    if not (rich_lab and rich_before):
        return
    files = {"program": f"touch here; {program}"}
    request = rich_lab.request(files=files, execution_timeout=paced(1))
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(rich_lab.ask, request)
        rich_lab.await_files("here")
        rich_lab.worker.kill()
        wait_for(lambda: not given.processes())
        rich_lab.begin_worker()
        assert going.result().code == 401
    warm_up(rich_lab)
    assert rich_lab.settle(rich_before) == rich_before


def test_a_machine_that_lets_no_user_make_namespaces(shared_folder: Path, poor: User) -> None:
    with machine(shared_folder) as own:
        assert_refused(own, replace(poor, is_confined=True), NO_NAMESPACES)


def test_a_run_at_a_desk(shared_folder: Path, poor: User, busybox: Path) -> None:
    """`pipeline-containers run`, by somebody who is not root."""
    work = shared_folder / "work"
    poor.owns(work)
    (shared_folder / "solution").mkdir()
    command = (*poor.under(), str(BIN / "pipeline-containers"), "run", str(busybox), "two-fer")
    options = (str(shared_folder / "solution"), "--work", str(work), "--json")
    refused = call(*command, *options)
    assert refused.returncode == 1
    if not poor.may_make_namespaces():
        assert re.search(NO_NAMESPACES, refused.stderr)
        return
    assert f"--allow-unenforced {','.join(NAMES)}" in refused.stderr
    allowed = call(*command, *options, "--allow-unenforced", ",".join(NAMES))
    assert allowed.returncode == 0, allowed.stderr
    report = json.loads(allowed.stdout)
    assert report["outputs"]["message"] == "two-fer by 0"
    assert report["unenforced"] == list(NAMES)
    assert list((work / "sandboxes").iterdir()) == []


@pytest.fixture
def busybox(shared_folder: Path) -> Path:
    """Make a root folder with a tool that says who it is."""
    root = shared_folder / "root"
    script = root / "opt/test-runner/bin/run.sh"
    script.parent.mkdir(parents=True)
    script.write_text(
        "#!/bin/sh\n"
        'said="$1 by $(busybox id -u)"\n'
        """printf '{"status": "pass", "message": "%s"}' "$said" > $3/results.json\n"""
    )
    (root / "bin").mkdir()
    for name in ("sh", "busybox"):
        shutil.copy("/bin/busybox", root / "bin" / name)
    script.chmod(0o755)
    return root


def call(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=paced(60))


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + paced(seconds)
    while not condition():
        assert time.monotonic() < until, condition
        time.sleep(0.005)
