"""Containers made ahead: how many of which, and that a job cannot tell the difference."""

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.descriptors import open_descriptors
from support.pace import paced
from support.runtime import RUNTIME

from pipeline_containers.building.validate import ImageCandidate, validate
from pipeline_containers.errors import SandboxError
from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox import warm as warm_module
from pipeline_containers.sandbox.container.container import Container
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import Ending, RunReport
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.sandbox.warm import PoolKey, WarmPlan, plan
from pipeline_containers.system.deadline import Deadline
from pipeline_containers.system.units import MIB

PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
MakeImage = Callable[..., StoredImage]
A: PoolKey = ("a",)
B: PoolKey = ("b",)
C: PoolKey = ("c",)


@pytest.mark.parametrize(
    ("recent", "ready", "step"),
    [
        ([], [], WarmPlan()),
        ([A], [], WarmPlan(make=A)),
        ([A], [A], WarmPlan()),
        ([A, B], [], WarmPlan(make=B)),
        ([A, B], [B], WarmPlan(make=A)),
        ([A, A], [A], WarmPlan(make=A)),
        ([A, A], [A, B], WarmPlan(discard=B)),
        ([B, C], [A, B], WarmPlan(discard=A)),
        ([], [A], WarmPlan(discard=A)),
    ],
)
def test_what_is_ready_mirrors_the_latest_jobs(
    recent: list[PoolKey], ready: list[PoolKey], step: WarmPlan
) -> None:
    assert plan(recent, ready) == step


@pytest.fixture
def warm(
    open_sandbox: Callable[..., Sandbox], traces: Callable[[Path], list[str]]
) -> Iterator[Sandbox]:
    """A sandbox that makes two containers ahead, and leaves nothing when it closes."""
    descriptors = open_descriptors()
    with open_sandbox(2) as opened:
        yield opened
    assert traces(opened.folder) == []
    assert open_descriptors() - descriptors == Counter()


Twice = Callable[..., tuple[RunReport, RunReport]]


@pytest.fixture
def twice(warm: Sandbox, quick_limits: Limits) -> Twice:
    """Run a tool cold, then warm."""

    def do(
        image: StoredImage, first: Limits = quick_limits, second: Limits | None = None
    ) -> tuple[RunReport, RunReport]:
        def fill(folder: Path) -> None:
            (folder / "input").write_text("given")

        tool = ToolRun(image, TOOLS["test_runner"], "two-fer", fill, first)
        cold = warm.run(tool)
        warm.settle()
        again = warm.run(replace(tool, slug=" $(id); [a-z]* ", limits=second or first))
        assert not cold.was_made_ahead
        return cold, again

    return do


@pytest.mark.e2e
def test_a_job_cannot_tell(twice: Twice, make_image: MakeImage) -> None:
    script = (
        'echo "$0 $2 $3 $# $$ $(pwd)"; cat $2/input; id;'
        "tr '\\0' '\\n' < /proc/self/environ | sort;"
        f"readlink /proc/self/fd/0; ls -A / /mnt $2; cut -d' ' -f2-4 /proc/self/mounts"
        # no two live containers have the same ids outside of theirs
        f" | sed 's/[ug]id=[0-9]*//g'; {PASS}"
    )
    cold, warm = twice(make_image(script, config=ImageConfig(env=("X=1",), user="app")))
    assert warm.was_made_ahead
    assert warm.succeeded
    assert cold.stdout == warm.stdout
    assert "given" in cold.stdout


@pytest.mark.e2e
def test_the_slug_comes_as_it_is(twice: Twice, make_image: MakeImage) -> None:
    assert twice(make_image(f'echo "[$1]"; {PASS}'))[1].stdout == "[ $(id); [a-z]* ]\n"


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("change", "ending"),
    [
        ({"memory_bytes": 24 * MIB}, Ending.MEMORY_LIMIT),
        ({"memory_bytes": 256 * MIB}, Ending.EXITED),
        ({"pids": 4}, Ending.PIDS_LIMIT),
        ({"job_folder_bytes": 1 * MIB}, Ending.DISK_LIMIT),
        ({"wall_s": paced(0.2)}, Ending.TIMED_OUT),
        ({"stdout_bytes": 10}, Ending.OUTPUT_LIMIT),
    ],
)
def test_a_warm_job_has_its_own_limits(
    twice: Twice,
    make_image: MakeImage,
    quick_limits: Limits,
    change: dict[str, Any],
    ending: Ending,
) -> None:
    script = (
        "head -c 4m /dev/zero > $2/big || exit 1; head -c 30m /dev/zero | tail > /dev/null;"
        f"for i in 1 2 3 4; do sleep {paced(0.4):g} & done; wait; wc -c < $2/big;"
        "sh -c 'sh -c \"head -c 30m /dev/zero | tail\"' > /dev/null || exit 1;"
        f"echo 0123456789; {PASS}"
    )
    cold, warm = twice(make_image(script), second=replace(quick_limits, **change))
    assert cold.ending is Ending.EXITED
    assert warm.was_made_ahead
    assert warm.ending is ending, warm


@pytest.mark.e2e
def test_limits_inside_the_container_make_it_another(
    twice: Twice, make_image: MakeImage, quick_limits: Limits
) -> None:
    _, again = twice(make_image(PASS), second=replace(quick_limits, tmp_bytes=1 * MIB))
    assert again.succeeded
    assert not again.was_made_ahead


@pytest.mark.e2e
def test_an_image_without_a_shell_starts_cold(
    twice: Twice, make_image: MakeImage, busybox_layer: Path
) -> None:
    image = make_image("")
    top = image.layers[0]
    (top / "bin").mkdir()
    shutil.copy(busybox_layer / "bin/busybox", top / "bin/busybox")
    run = top / "opt/test-runner/bin/run.sh"
    run.write_text(f"#!/bin/busybox sh\n{PASS}")
    _, again = twice(StoredImage("test:shell-less", (top,)))
    assert again.succeeded
    assert not again.was_made_ahead


@pytest.mark.e2e
def test_a_script_that_only_a_shell_would_run_fails_always(
    warm: Sandbox, make_image: MakeImage, quick_limits: Limits
) -> None:
    image = make_image("")
    (image.layers[0] / "opt/test-runner/bin/run.sh").write_text(PASS)
    run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    for _ in range(2):
        assert not warm.run(run).succeeded
        warm.settle()


def waiting(sandbox: Sandbox) -> list[str]:
    """List the containers that wait for jobs."""
    sandbox.settle()
    return sorted(place.name for place in (sandbox.folder / "jobs").iterdir())


@pytest.mark.e2e
def test_there_are_never_more_than_asked_for(
    warm: Sandbox,
    make_image: MakeImage,
    quick_limits: Limits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [make_image(f"{PASS} # {number}") for number in range(4)]
    for image in images:
        warm.run(ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits))
        assert len(list((warm.folder / "jobs").iterdir())) <= 4
    assert len(waiting(warm)) == 2
    monkeypatch.setattr(warm_module, "PAUSE_S", 60.0)  # so that none is exchanged in between
    monkeypatch.setattr(warm_module, "PATIENCE_S", 60.0)
    for image in reversed(images[2:]):
        run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
        assert warm.run(run).was_made_ahead


@pytest.mark.e2e
def test_forgotten_images_have_none(
    warm: Sandbox, make_image: MakeImage, quick_limits: Limits
) -> None:
    kept, gone = make_image(PASS), make_image(f"{PASS} #")
    for image in (kept, gone):
        warm.run(ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits))
    assert len(waiting(warm)) == 2
    warm.forget(gone.digest)
    assert len(waiting(warm)) == 1
    assert len(list((warm.folder / "roots").glob("*-*"))) == 1
    warm.forget(kept.digest)
    assert waiting(warm) == []


@pytest.mark.e2e
def test_a_trial_of_another_image_takes_no_jobs_container_away(
    warm: Sandbox, make_image: MakeImage, quick_limits: Limits, work: Path
) -> None:
    """An image that is validated is no sign of which jobs come next."""
    run = ToolRun(make_image(PASS), TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    for _ in range(2):
        warm.run(run)
    assert len(waiting(warm)) == 2
    (work / "validation").mkdir()
    candidate = ImageCandidate(
        make_image(f"{PASS} #"), TOOLS["test_runner"], None, work / "validation"
    )
    validate(candidate, warm, Deadline(paced(60)), lambda _: None)
    assert len(waiting(warm)) == 2
    assert warm.run(run).was_made_ahead


@pytest.mark.e2e
def test_one_that_was_killed_as_it_waited_is_not_used(
    warm: Sandbox, make_image: MakeImage, quick_limits: Limits
) -> None:
    run = ToolRun(make_image(PASS), TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    warm.run(run)
    (name,) = waiting(warm)
    root = Path("/sys/fs/cgroup")
    files = [*root.glob(f"*/*/{name}/cgroup.procs"), *root.glob(f"*/*/*/{name}/cgroup.procs")]
    own = [file for file in files if warm.folder.parent.name in file.parts]
    os.kill(int(own[0].read_text()), signal.SIGKILL)
    time.sleep(0.2)
    report = warm.run(run)
    assert report.succeeded
    assert not report.was_made_ahead


@pytest.mark.e2e
def test_what_cannot_be_made_ahead_is_in_nobodys_way(
    warm: Sandbox,
    make_image: MakeImage,
    quick_limits: Limits,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = ToolRun(make_image(PASS), TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    prepare = Container.prepare
    with monkeypatch.context() as patched:

        def refuse(container: Container, slug: str | None = None) -> None:
            prepare(container, slug)
            if slug is None:
                raise SandboxError("the disk is full")

        patched.setattr(Container, "prepare", refuse)
        warm.run(run)
        warm.settle()
    assert "no container can be made ahead: the disk is full" in caplog.text
    assert waiting(warm) == []
    assert warm.run(run).succeeded
    assert len(waiting(warm)) == 1


@pytest.mark.e2e
def test_a_runtime_that_is_not_known_is_called_for_all(
    work: Path,
    open_sandbox: Callable[..., Sandbox],
    traces: Callable[[Path], list[str]],
    make_image: MakeImage,
    quick_limits: Limits,
) -> None:
    """By a name of its own it says that it is another."""
    program = work / "other"
    program.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --version ] && {{ echo "other version 1.0"; exit; }}\n'
        f'exec {RUNTIME} "$@"\n'
    )
    program.chmod(0o755)
    run = ToolRun(make_image(PASS), TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    with open_sandbox(warm=2, runtime=str(program), launcher="runc") as sandbox:
        assert sandbox.facts()["runtime"] == "other 1.0"
        assert sandbox.run(run).succeeded
        sandbox.settle()
        assert sandbox.run(run).was_made_ahead
        sandbox.forget(run.image.digest)
        sandbox.settle()
        assert traces(sandbox.folder) == []
