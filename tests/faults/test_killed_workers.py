"""A worker is killed: before, during and just after a job, and by the job itself."""

import pytest
from faults.history import Terms
from faults.lab import FaultLab

from pipeline_protocol import status


def test_killed_before_a_job(lab: FaultLab) -> None:
    """The router may not have noticed yet: what never left for it runs elsewhere, as innocent."""
    lab.start_router()
    doomed, _ = lab.start_workers(2, slots=1)
    group = lab.group()
    doomed.kill()
    group.ask(*lab.requests(20))
    group.wait()
    assert {one.worker for asked in group.history.all for one in lab.executions(asked)} == {
        "worker-2"
    }
    lab.judge()


def test_killed_during_a_job(lab: FaultLab) -> None:
    lab.terms = Terms(executions=2)
    lab.start_router()
    workers = dict(zip(("worker-1", "worker-2"), lab.start_workers(2), strict=True))
    group = lab.group()
    asked = lab.request("sleep 1")
    group.ask(asked)
    workers[lab.await_running(asked).worker].kill()
    group.wait()
    first, second = lab.executions(asked)
    assert (first.ended, first.attempt) == (False, 1)
    assert (second.ended, second.attempt) == (True, 2)
    assert second.worker != first.worker
    lab.judge()


def test_killed_just_after_a_job(lab: FaultLab) -> None:
    """Within milliseconds of its end: the result left, or the job runs once more; never neither."""
    lab.terms = Terms(executions=2)
    lab.start_router()
    lab.start_workers(2, slots=1)
    group = lab.group()
    # looking only after each job misses an end that comes late, and nobody is left for the next
    with lab.restarting("worker-1", "worker-2", slots=1):
        for _ in range(6):
            delay = lab.random.uniform(0, 0.004)
            group.ask(lab.request(f"crash-once-in {delay:.4f}"))
            group.wait()
    lab.judge()


def test_a_poison_job_takes_no_innocent_one_along(lab: FaultLab) -> None:
    """It is given up after `max_attempts`; its neighbours, suspects too, are retried alone."""
    lab.terms = Terms(executions=2)
    lab.start_router()
    lab.start_workers(2, slots=4)
    group = lab.group()
    innocent = lab.requests(10, "sleep 0.3")
    poison = [lab.request("sleep 0.1", "crash", codes=[status.WORKER_FAILED]) for _ in range(2)]
    mixed = innocent + poison
    lab.random.shuffle(mixed)
    group.ask(*mixed)
    with lab.restarting("worker-1", "worker-2", slots=4):
        group.wait()
    assert [len(lab.executions(asked)) for asked in poison] == [2, 2]
    assert "2 workers were lost" in str(poison[0].reply.status.error)
    lab.judge()


def test_a_poison_job_alone_is_given_up_at_once_when_told_to(lab: FaultLab) -> None:
    lab.start_router(max_attempts=1)
    lab.start_workers(1)
    poison = lab.request("crash", codes=[status.WORKER_FAILED])
    lab.group().ask(poison)
    lab.judge()


@pytest.mark.soak
def test_workers_killed_at_random_under_load(lab: FaultLab) -> None:
    lab.terms = Terms(executions=10)
    lab.start_router(max_attempts=10)
    lab.start_workers(3)
    names = ("worker-1", "worker-2", "worker-3")
    group = lab.group(seats=16)
    group.ask(*(lab.request(f"sleep {lab.random.uniform(0, 0.2):.3f}") for _ in range(150)))
    with lab.restarting(*names), lab.killing(*names, every_s=0.5):
        group.wait(90)
    lab.judge()
