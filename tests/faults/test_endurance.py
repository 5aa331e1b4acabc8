"""The whole promise at once: exactly one right answer, whoever is killed meanwhile."""

import pytest
from faults.history import Terms
from faults.lab import FaultLab

ATTEMPTS = 10


@pytest.mark.parametrize(
    ("requests", "deaths_of_the_router"),
    [
        (500, 1),
        pytest.param(10_000, 5, marks=[pytest.mark.soak, pytest.mark.timeout(1200)]),
    ],
)
def test_one_right_answer_whoever_is_killed(
    lab: FaultLab, requests: int, deaths_of_the_router: int
) -> None:
    """Four workers, one of them killed every second; clients that only resend on a time-out."""
    lab.terms = Terms(executions=ATTEMPTS, router_died=True)
    lab.start_router(max_attempts=ATTEMPTS)
    lab.start_workers(4)
    names = [f"worker-{number}" for number in range(1, 5)]
    group = lab.group(seats=64, resend_after_s=3)
    for _ in range(requests):
        group.ask(lab.request(f"sleep {lab.random.uniform(0, 0.1):.3f}", timeout_s=120))
    with lab.restarting(*names), lab.killing(*names, every_s=1.0):
        for death in range(1, deaths_of_the_router + 1):
            lab.await_answered(requests * death // (deaths_of_the_router + 1), 900)
            lab.router.kill()
            lab.start_router(max_attempts=ATTEMPTS)
        group.wait(900)
    lab.judge()
