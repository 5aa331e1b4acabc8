"""Which processors jobs have: the decisions, the locks, and what a job sees of it."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.host.cgroup_root import CgroupRoot
from pipeline_containers.sandbox.host.hierarchies import UNIFIED, Hierarchies
from pipeline_containers.sandbox.host.pinning import Pinning, usable_processors
from pipeline_containers.sandbox.host.processors import (
    ProcessorPlace,
    Processors,
    find_siblings,
    free_places,
    parse_processors,
    spread,
    whole_processors,
)
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS

PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
MakeImage = Callable[..., StoredImage]


@pytest.mark.parametrize(
    ("cpus", "usable", "jobs", "expected"),
    [
        (1.0, 2, 1, 1),
        (1.0, 2, 2, 1),  # two slots use both
        (1.0, 2, 3, 0),  # more at a time than there is room for
        (2.0, 8, 4, 2),
        (2.0, 8, 5, 0),
        (1.5, 8, 1, 0),
        (0.5, 8, 1, 0),
        (2.0, 2, 1, 0),  # it has all of them anyway
        (4.0, 2, 1, 0),
        (1.0, 1, 1, 0),
        (1.0, 0, 1, 0),  # none can be given
    ],
)
def test_only_whole_ones_are_given_and_as_many_as_there_are(
    cpus: float, usable: int, jobs: int, expected: int
) -> None:
    assert whole_processors(cpus, usable, jobs) == expected


def test_cores_come_before_siblings() -> None:
    assert spread({0: [0, 2], 1: [1, 3], 2: [0, 2], 3: [1, 3]}) == [0, 1, 2, 3]
    assert spread({0: [0, 1], 1: [0, 1], 2: [2, 3], 3: [2, 3]}) == [0, 2, 1, 3]
    assert spread({5: [], 7: []}) == [5, 7]


def test_the_kernels_lists() -> None:
    assert parse_processors("0-3,8\n") == [0, 1, 2, 3, 8]
    assert parse_processors("5") == [5]
    assert parse_processors("\n") == []


def test_siblings_that_are_not_given_count_for_nothing(tmp_path: Path) -> None:
    for number, text in {1: "1,5", 2: "2,6", 5: "1,5"}.items():
        file = tmp_path / f"cpu{number}/topology/thread_siblings_list"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    assert find_siblings([1, 2, 5, 9], tmp_path) == {1: [1, 5], 2: [2], 5: [1, 5], 9: [9]}


def test_the_lowest_level_comes_first() -> None:
    held = {ProcessorPlace(0, 3), ProcessorPlace(1, 5)}
    assert list(free_places([5, 3], held, below=2)) == [ProcessorPlace(0, 5), ProcessorPlace(1, 3)]
    assert next(
        free_places([5, 3], [ProcessorPlace(0, 5), ProcessorPlace(0, 3)])
    ) == ProcessorPlace(1, 5)


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Callable[..., Processors]]:
    """Make the processors of several sandboxes of a host."""
    made = []

    def do(*numbers: int, jobs: int = 1) -> Processors:
        made.append(Processors(numbers, jobs, tmp_path / "below/processors"))
        return made[-1]

    yield do
    for one in made:
        one.close()


def test_no_processor_has_two_jobs_while_another_has_none(
    share: Callable[..., Processors],
) -> None:
    one, other = share(0, 1, 2, 3, jobs=2), share(0, 1, 2, 3, jobs=4)
    taken = [one.take(1), other.take(1), one.take(1), other.take(1)]
    assert sorted(place.processor for (place,) in taken) == [0, 1, 2, 3]
    assert {place.level for (place,) in taken} == {0}
    assert other.take(1)[0].level == 1


def test_a_job_of_several_has_different_ones(share: Callable[..., Processors]) -> None:
    share(0, 1, 2, 3).take(1)
    beside = share(0, 1, 2, 3).take(3)
    assert sorted(beside) == [ProcessorPlace(0, 1), ProcessorPlace(0, 2), ProcessorPlace(0, 3)]
    crowded = share(0, 1, 2, 3).take(2)
    assert sorted(crowded) == [ProcessorPlace(1, 0), ProcessorPlace(1, 1)]


def test_what_is_given_back_or_closed_is_others(share: Callable[..., Processors]) -> None:
    one, other = share(0, 1), share(0, 1)
    first = one.take(1)
    assert other.take(1) == [ProcessorPlace(0, 1)]
    one.give_back(first)
    assert share(0, 1).take(1) == first
    other.close()
    assert share(0, 1).take(1) == [ProcessorPlace(0, 1)]


def test_a_job_moves_to_where_it_is_alone(share: Callable[..., Processors]) -> None:
    own, other = share(0, 1), share(0, 1)
    filling = [own.take(1), share(0, 1).take(1)]
    crowded = other.take(1)
    assert crowded == [ProcessorPlace(1, 0)]
    assert other.improve(crowded) == crowded, "there is no better one yet"
    own.give_back(filling[0])
    better = other.improve(crowded)
    assert better == [ProcessorPlace(0, 0)]
    assert other.improve(better) == better
    assert share(0, 1).take(1) == [ProcessorPlace(1, 0)], "what it had is free"


def test_of_several_places_the_worst_is_exchanged(share: Callable[..., Processors]) -> None:
    own, other = share(0, 1, 2), share(0, 1, 2)
    first = own.take(2)
    crowded = other.take(2)
    assert sorted(crowded) == [ProcessorPlace(0, 2), ProcessorPlace(1, 0)]
    own.give_back(first)
    assert sorted(other.improve(crowded)) == [ProcessorPlace(0, 0), ProcessorPlace(0, 2)]


def test_a_job_without_processors_of_its_own_changes_nothing(tmp_path: Path) -> None:
    processors = Processors([], 1, tmp_path / "processors")
    pinning = Pinning(processors, Hierarchies({UNIFIED: tmp_path}), "job-1", 1.0)
    pinning.look()
    pinning.close()
    assert list(tmp_path.iterdir()) == []


def test_a_moved_job_is_held_to_its_new_processors(
    tmp_path: Path, share: Callable[..., Processors]
) -> None:
    (tmp_path / "job-1").mkdir()
    own = share(0, 1)
    filling = own.take(1)
    share(0, 1).take(1)
    pinning = Pinning(share(0, 1), Hierarchies({"cpuset": tmp_path}), "job-1", 1.0)
    file = tmp_path / "job-1/cpuset.cpus"
    assert file.read_text() == "0"
    file.write_text("")
    pinning.look()
    assert file.read_text() == "", "written when it moves, and not at each look"
    own.give_back(filling)
    pinning.look()
    assert file.read_text() == "0"
    pinning.close()
    assert share(0, 1).take(1) == [ProcessorPlace(0, 0)]


@pytest.mark.parametrize(
    ("hierarchy", "files", "expected"),
    [
        ("cpuset", {"top/cpuset.effective_cpus": "0", "cpuset.effective_cpus": "0-1"}, [0]),
        ("cpuset", {"top/cpuset.effective_cpus": "\n", "cpuset.effective_cpus": "0"}, [0]),
        (UNIFIED, {"top/cgroup.subtree_control": "cpu cpuset", "cpuset.cpus.effective": "0"}, [0]),
        (UNIFIED, {"top/cgroup.subtree_control": "cpu", "cpuset.cpus.effective": "0"}, []),
        (UNIFIED, {"cpuset.cpus.effective": "0"}, []),
    ],
)
def test_processors_are_those_of_the_cgroup_if_it_can_share_them_out(
    tmp_path: Path, hierarchy: str, files: dict[str, str], expected: list[int]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    root = CgroupRoot(Hierarchies({hierarchy: tmp_path}), "top", {}, "")
    allowed = os.sched_getaffinity(0)
    assert usable_processors(root) == [number for number in expected if number in allowed]
    assert usable_processors(replace(root, cgroup="")) == []


SEEN = "nproc; grep Cpus_allowed_list /proc/self/status | cut -f2"


@pytest.mark.e2e
def test_a_tool_sees_as_many_processors_as_it_has(
    sandbox: Sandbox, make_image: MakeImage, quick_limits: Limits
) -> None:
    tool = ToolRun(
        make_image(f"{SEEN}; {PASS}"), TOOLS["test_runner"], "a", lambda _: None, quick_limits
    )
    usable = len(usable_processors(sandbox.cgroup_root))
    assert usable > 1, "one processor shows nothing of this"
    assert sandbox.run(tool).stdout.split()[0] == "1"
    leaving = make_image(f"taskset -p ff $$ > /dev/null; nproc; {PASS}")
    assert sandbox.run(replace(tool, image=leaving)).stdout == "1\n", "it cannot leave"
    free = sandbox.run(replace(tool, limits=replace(quick_limits, cpus=0.5)))
    assert free.stdout.split()[0] == str(usable)


@pytest.mark.e2e
def test_jobs_at_a_time_use_all_processors_and_warm_ones_too(
    open_sandbox: Callable[..., Sandbox], make_image: MakeImage, quick_limits: Limits, work: Path
) -> None:
    image = make_image(f"{SEEN}; touch $3/there; until [ -e $3/go ]; do sleep 0.01; done; {PASS}")
    tool = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    count = len(os.sched_getaffinity(0))

    def at_once(sandbox: Sandbox) -> tuple[set[str], set[bool]]:
        """Run as many as there are processors, until all are there; where they ran."""
        with ThreadPoolExecutor(count) as pool:
            going = [pool.submit(sandbox.run, tool) for _ in range(count)]
            until = time.monotonic() + paced(8)
            while len(there := list((work / "sandbox/jobs").glob("*/job/there"))) < count:
                assert time.monotonic() < until
                time.sleep(0.005)
            for file in there:
                (file.parent / "go").touch()
            reports = [one.result() for one in going]
        assert all(report.stdout.startswith("1\n") for report in reports)
        where = {report.stdout.split()[1] for report in reports}
        return where, {report.was_made_ahead for report in reports}

    with open_sandbox(count) as sandbox:
        everywhere = {str(number) for number in usable_processors(sandbox.cgroup_root)}
        assert at_once(sandbox) == (everywhere, {False})
        sandbox.settle()
        assert at_once(sandbox) == (everywhere, {True})
