"""The worker's own death, by SIGKILL, at every step: its next start clears all that it left."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from hostile.death import Death
from hostile.lab import HONEST, Answer, HostileLab
from hostile.traces import Traces
from support.images import Layer
from support.pace import paced

from pipeline_protocol.status import NO_WORKER

pytestmark = pytest.mark.e2e

PARTS = 12
"""At so many steps of a job the worker dies here; `./dev soak` tries them all."""


@pytest.fixture(scope="module")
def death(lab: HostileLab) -> Iterator[Death]:
    death = Death(lab)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in death.environment().items():
            patch.setenv(name, value)
        assert lab.worker.stop() == 0
        lab.start_worker()
        yield death


@pytest.fixture(scope="module")
def before(lab: HostileLab, death: Death) -> Traces:
    return lab.at_rest()


@pytest.fixture(scope="module")
def steps(lab: HostileLab, death: Death, before: Traces) -> int:
    """Count the steps from a job's coming until all is at rest again."""
    count = len(death.steps())
    lab.honest()
    assert lab.at_rest() == before
    return len(death.steps()) - count


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def ask(pool: ThreadPoolExecutor, lab: HostileLab, **fields: Any) -> Future[Answer]:
    return pool.submit(ask_until_taken, lab, lab.request(**fields))


def ask_until_taken(lab: HostileLab, request: dict[str, Any]) -> Answer:
    """Ask as clients do: again, as long as no worker is there. It may be slow to rise."""
    deadline = time.monotonic() + paced(30)
    while (answer := lab.ask(request)).code == NO_WORKER and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


def die_after(
    lab: HostileLab, death: Death, before: Traces, pool: ThreadPoolExecutor, steps: int
) -> None:
    """Have the worker die so far into two jobs; both must come right all the same."""
    death.comes_after(steps)
    words = ("one", "two")
    going = [ask(pool, lab, files={"program": HONEST, "word": word}) for word in words]
    death.rise(before)
    for future, word in zip(going, words, strict=True):
        answer = future.result()
        assert (answer.code, answer.text) == (200, word), answer.reply


@pytest.mark.parametrize("part", range(PARTS))
def test_dead_at_a_step_of_a_job(
    lab: HostileLab, death: Death, before: Traces, pool: ThreadPoolExecutor, steps: int, part: int
) -> None:
    die_after(lab, death, before, pool, 1 + steps * part // PARTS)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_dead_at_every_step_of_a_job(
    lab: HostileLab, death: Death, before: Traces, pool: ThreadPoolExecutor, steps: int
) -> None:
    for step in range(1, steps + 1):
        die_after(lab, death, before, pool, step)


def test_dead_while_the_job_folder_is_filled(
    lab: HostileLab, death: Death, before: Traces, pool: ThreadPoolExecutor
) -> None:
    folder = lab.inputs / "many"
    folder.mkdir()
    for number in range(900):
        (folder / f"file-{number}").write_bytes(bytes(4096))
    (folder / "program").write_text("pass $(ls | wc -l)")
    going = ask(pool, lab, s3_uri=f"file://{folder}/")
    lab.await_files("file-*")
    lab.worker.kill()
    death.rise(before)
    answer = going.result()
    assert (answer.code, answer.text) == (200, "901"), answer.reply


@pytest.mark.parametrize(
    "program",
    [
        "bomb deaf",
        "bomb children",
        "while :; do echo; sleep 0.01; done",
        f"bomb touched 40; sleep {paced(9):.0f}",
    ],
    ids=["deaf", "many", "printing", "large"],
)
def test_dead_while_a_hostile_tool_runs(
    lab: HostileLab, death: Death, before: Traces, pool: ThreadPoolExecutor, program: str
) -> None:
    """The job is run again, to the answer that it has earned."""
    going = ask(pool, lab, files={"program": f"touch here; {program}"}, execution_timeout=paced(1))
    lab.await_files("here")
    lab.worker.kill()
    death.rise(before)
    assert going.result().code == 401


@pytest.mark.parametrize("jobs", [1, 2])
def test_tools_that_run_on_without_it(
    lab: HostileLab, death: Death, before: Traces, pool: ThreadPoolExecutor, jobs: int
) -> None:
    program = "touch here; until [ -e stop ]; do sleep 0.02; done; pass stopped"
    fields = {"files": {"program": program}, "execution_timeout": paced(20)}
    going = [ask(pool, lab, **fields) for _ in range(jobs)]
    lab.await_files("here", jobs)
    lab.worker.kill()
    left = lab.traces()
    assert left.processes >= jobs
    assert left.folders >= 2 * jobs
    lab.begin_worker()
    while not all(future.done() for future in going):
        for folder in lab.find_files("here"):
            with suppress(FileNotFoundError):  # it has ended meanwhile
                (folder / "stop").touch()
        time.sleep(0.02)
    for future in going:
        answer = future.result()
        assert (answer.code, answer.text) == (200, "stopped"), answer.reply
    lab.honest_everywhere()
    assert lab.settle(before) == before


def test_dead_every_time_that_a_job_is_tried(
    lab: HostileLab, death: Death, before: Traces, pool: ThreadPoolExecutor
) -> None:
    """A poisonous job is given up: no third worker dies of it."""
    going = ask(pool, lab, files={"program": "touch here; sleep 600"}, execution_timeout=paced(20))
    lab.await_files("here")
    lab.worker.kill()
    lab.begin_worker()
    lab.await_files("here")
    lab.worker.kill()
    answer = going.result()
    assert answer.code == 510, answer.reply
    death.rise(before)


def test_dead_while_an_image_is_pulled(lab: HostileLab, death: Death, before: Traces) -> None:
    layers = lab.worker_folder / "store/root/overlay"
    count = len(os.listdir(layers))
    lab.deploy("hostile", lab.image.on_top(Layer().file("big", os.urandom(48 << 20))), "big")
    while len(os.listdir(layers)) == count:
        time.sleep(0.001)
    lab.worker.kill()
    lab.begin_worker()
    answer = lab.ask(lab.request(files={"program": "pass big"}, container_version="big"))
    assert (answer.code, answer.text) == (200, "big"), answer.reply
    lab.unload("hostile", "big")
    lab.honest_everywhere()
    assert lab.settle(before) == before
