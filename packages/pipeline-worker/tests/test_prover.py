"""The proof of a host, on a thread: what comes of each way in which it ends."""

from collections.abc import Callable
from queue import Queue

import pytest

from pipeline_containers.errors import SandboxError
from pipeline_worker.events import Event, HealthDoubted, HealthProved
from pipeline_worker.prover import Prover


def failing(error: Exception) -> Callable[[], None]:
    def prove() -> None:
        raise error

    return prove


@pytest.mark.parametrize(
    ("prove", "problem"),
    [
        (lambda: None, ""),
        (failing(SandboxError("no cgroups")), "no cgroups"),
        (failing(OSError()), "OSError()"),
        (failing(KeyError("bug")), "KeyError('bug')"),
    ],
)
def test_a_proof_ends_in_an_event(prove: Callable[[], None], problem: str) -> None:
    posted: Queue[Event] = Queue()
    prover = Prover(prove)
    prover.report_to(posted.put)
    prover.begin()
    assert posted.get(timeout=10) == HealthProved(problem)


def test_a_doubt_is_an_event() -> None:
    posted: Queue[Event] = Queue()
    prover = Prover()
    prover.report_to(posted.put)
    prover.doubt("a container stays")
    assert posted.get(timeout=10) == HealthDoubted()
