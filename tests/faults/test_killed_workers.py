"""A worker is killed: before, during and just after a job, and by the job itself."""

import pytest
from faults.history import Terms
from faults.yard import Yard

from pipeline_protocol import status


def test_killed_before_a_job(yard: Yard) -> None:
    """The router may not have noticed yet: what never left for it runs elsewhere, as innocent."""
    yard.start_router()
    doomed, _ = yard.start_workers(2, slots=1)
    crowd = yard.crowd()
    doomed.kill()
    crowd.ask(*yard.requests(20))
    crowd.wait()
    assert {one.worker for asked in crowd.history.all for one in yard.executions(asked)} == {
        "worker-2"
    }
    yard.judge()


def test_killed_during_a_job(yard: Yard) -> None:
    yard.terms = Terms(executions=2)
    yard.start_router()
    workers = dict(zip(("worker-1", "worker-2"), yard.start_workers(2), strict=True))
    crowd = yard.crowd()
    asked = yard.request("sleep 1")
    crowd.ask(asked)
    workers[yard.await_running(asked).worker].kill()
    crowd.wait()
    first, second = yard.executions(asked)
    assert (first.ended, first.attempt) == (False, 1)
    assert (second.ended, second.attempt) == (True, 2)
    assert second.worker != first.worker
    yard.judge()


def test_killed_just_after_a_job(yard: Yard) -> None:
    """Within milliseconds of its end: the result left, or the job runs once more; never neither."""
    yard.terms = Terms(executions=2)
    yard.start_router()
    yard.start_workers(2, slots=1)
    crowd = yard.crowd()
    for _ in range(6):
        delay = yard.random.uniform(0, 0.004)
        asked = yard.request(f"crash-once-in {delay:.4f}")
        crowd.ask(asked)
        crowd.wait()
        for name in ("worker-1", "worker-2"):
            if not yard.worker(name).alive:
                yard.start_worker(name, slots=1)
    yard.judge()


def test_a_poison_job_takes_no_innocent_one_along(yard: Yard) -> None:
    """It is given up after `max_attempts`; its neighbours, suspects too, are retried alone."""
    yard.terms = Terms(executions=2)
    yard.start_router()
    yard.start_workers(2, slots=4)
    crowd = yard.crowd()
    innocent = yard.requests(10, "sleep 0.3")
    poison = [yard.request("sleep 0.1", "crash", codes=[status.WORKER_FAILED]) for _ in range(2)]
    mixed = innocent + poison
    yard.random.shuffle(mixed)
    crowd.ask(*mixed)
    with yard.restarting("worker-1", "worker-2", slots=4):
        crowd.wait()
    assert [len(yard.executions(asked)) for asked in poison] == [2, 2]
    assert "2 workers were lost" in str(poison[0].reply.status.error)
    yard.judge()


def test_a_poison_job_alone_is_given_up_at_once_when_told_to(yard: Yard) -> None:
    yard.start_router(max_attempts=1)
    yard.start_workers(1)
    poison = yard.request("crash", codes=[status.WORKER_FAILED])
    yard.crowd().ask(poison)
    yard.judge()


@pytest.mark.soak
def test_workers_killed_at_random_under_load(yard: Yard) -> None:
    yard.terms = Terms(executions=10)
    yard.start_router(max_attempts=10)
    yard.start_workers(3)
    names = ("worker-1", "worker-2", "worker-3")
    crowd = yard.crowd(seats=16)
    crowd.ask(*(yard.request(f"sleep {yard.random.uniform(0, 0.2):.3f}") for _ in range(150)))
    with yard.restarting(*names), yard.killing(*names, every_s=0.5):
        crowd.wait(90)
    yard.judge()
