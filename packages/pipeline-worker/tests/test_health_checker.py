"""The image check of a host, on a thread: what comes of each way in which it ends."""

from collections.abc import Callable
from queue import Queue
from threading import Event as Flag
from threading import Thread

import pytest

from pipeline_containers.errors import SandboxError
from pipeline_worker.events import Event, HealthDoubted, HealthProved
from pipeline_worker.host.health_checker import HealthChecker


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
    health_checker = HealthChecker(prove)
    health_checker.report_to(posted.put)
    health_checker.begin()
    assert posted.get(timeout=10) == HealthProved(problem)


def test_a_doubt_is_an_event() -> None:
    posted: Queue[Event] = Queue()
    health_checker = HealthChecker()
    health_checker.report_to(posted.put)
    health_checker.doubt("a container stays")
    assert posted.get(timeout=10) == HealthDoubted()


def test_closing_waits_for_the_end_of_a_proof() -> None:
    begun, go_on, ended = Flag(), Flag(), Flag()

    def prove() -> None:
        begun.set()
        assert go_on.wait(10)
        ended.set()

    health_checker = HealthChecker(prove)
    health_checker.close()  # nothing to wait for
    health_checker.begin()
    assert begun.wait(10)
    closing = Thread(target=health_checker.close)
    closing.start()
    assert closing.is_alive()
    go_on.set()
    closing.join(10)
    assert ended.is_set()
