"""The worker's own death, by SIGKILL, at every step: its next start clears all that it left."""

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hostile.arena import HONEST, Answer, Arena
from hostile.image import TOOL
from hostile.traces import Traces
from support.images import Layer

pytestmark = pytest.mark.e2e

STEPS = ("create", "start", "delete")
"""Of a container; in between the job folder is filled, the tool runs, its result is read."""


@pytest.fixture(scope="module")
def deadly(arena: Arena) -> Path:
    """Put a runtime in the real one's place that kills the worker where `kill` beside it says."""
    runtime = arena.own.folder / "deadly-runc"
    shutil.copy(TOOL / "deadly-runc.sh", runtime)
    assert arena.worker.stop() == 0
    arena.start_worker("--runtime", str(runtime))
    return runtime.with_name("kill")


@pytest.fixture(scope="module")
def before(arena: Arena, deadly: Path) -> Traces:
    return arena.at_rest()


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def rise(arena: Arena, deadly: Path, wanted: Traces) -> None:
    """Start the dead worker again; everything has to be as it was."""
    arena.worker.wait()
    arena.start_worker("--runtime", str(deadly.with_name("deadly-runc")))
    assert arena.settle(wanted) == wanted


def ask(pool: ThreadPoolExecutor, arena: Arena, **fields: Any) -> Future[Answer]:
    return pool.submit(arena.ask, arena.request(**fields))


@pytest.mark.parametrize(
    "step", [f"{when} {what}" for what in STEPS for when in ("before", "after")]
)
def test_dead_at_a_step_of_a_container(
    arena: Arena, deadly: Path, before: Traces, pool: ThreadPoolExecutor, step: str
) -> None:
    deadly.write_text(f"{step}\n")
    going = ask(pool, arena, files={"program": HONEST, "word": step})
    rise(arena, deadly, before)
    answer = going.result()
    assert (answer.code, answer.text) == (200, step), answer.reply


def test_dead_while_the_job_folder_is_filled(
    arena: Arena, deadly: Path, before: Traces, pool: ThreadPoolExecutor
) -> None:
    folder = arena.inputs / "many"
    folder.mkdir()
    for number in range(900):
        (folder / f"file-{number}").write_bytes(bytes(4096))
    (folder / "program").write_text("pass $(ls | wc -l)")
    going = ask(pool, arena, s3_uri=f"file://{folder}/")
    arena.await_files("file-*")
    arena.worker.kill()
    rise(arena, deadly, before)
    answer = going.result()
    assert (answer.code, answer.text) == (200, "901"), answer.reply


@pytest.mark.parametrize(
    "program",
    [
        "bomb deaf",
        "bomb children",
        "while :; do echo; sleep 0.01; done",
        "bomb touched 40; sleep 9",
    ],
    ids=["deaf", "many", "printing", "large"],
)
def test_dead_while_a_hostile_tool_runs(
    arena: Arena, deadly: Path, before: Traces, pool: ThreadPoolExecutor, program: str
) -> None:
    """The job is run again, to the answer that it has earned."""
    going = ask(pool, arena, files={"program": f"touch here; {program}"}, execution_timeout=1)
    arena.await_files("here")
    arena.worker.kill()
    rise(arena, deadly, before)
    assert going.result().code == 401


@pytest.mark.parametrize("jobs", [1, 2])
def test_tools_that_run_on_without_it(
    arena: Arena, deadly: Path, before: Traces, pool: ThreadPoolExecutor, jobs: int
) -> None:
    program = "touch here; until [ -e stop ]; do sleep 0.02; done; pass stopped"
    going = [
        ask(pool, arena, files={"program": program}, execution_timeout=20) for _ in range(jobs)
    ]
    arena.await_files("here", jobs)
    arena.worker.kill()
    left = arena.traces()
    assert left.processes > before.processes
    assert left.cgroups > before.cgroups
    arena.begin_worker("--runtime", str(deadly.with_name("deadly-runc")))
    while not all(future.done() for future in going):
        for folder in arena.find_files("here"):
            (folder / "stop").touch()
        time.sleep(0.02)
    for future in going:
        answer = future.result()
        assert (answer.code, answer.text) == (200, "stopped"), answer.reply
    arena.honest_everywhere()
    assert arena.settle(before) == before


def test_dead_every_time_that_a_job_is_tried(
    arena: Arena, deadly: Path, before: Traces, pool: ThreadPoolExecutor
) -> None:
    """A poisonous job is given up: no third worker dies of it."""
    going = ask(pool, arena, files={"program": "touch here; sleep 600"}, execution_timeout=20)
    arena.await_files("here")
    arena.worker.kill()
    arena.begin_worker("--runtime", str(deadly.with_name("deadly-runc")))
    arena.await_files("here")
    arena.worker.kill()
    answer = going.result()
    assert answer.code == 510, answer.reply
    rise(arena, deadly, before)


def test_dead_while_an_image_is_pulled(
    arena: Arena, deadly: Path, before: Traces, pool: ThreadPoolExecutor
) -> None:
    layers = arena.worker_folder / "store/root/overlay"
    count = len(os.listdir(layers))
    arena.deploy("hostile", arena.image.on_top(Layer().file("big", os.urandom(48 << 20))), "big")
    while len(os.listdir(layers)) == count:
        time.sleep(0.001)
    arena.worker.kill()
    arena.worker.wait()
    arena.start_worker("--runtime", str(deadly.with_name("deadly-runc")))
    answer = arena.ask(arena.request(files={"program": "pass big"}, container_version="big"))
    assert (answer.code, answer.text) == (200, "big"), answer.reply
    arena.unload("hostile", "big")
    arena.honest()
    assert arena.settle(before) == before
