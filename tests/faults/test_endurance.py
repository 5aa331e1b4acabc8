"""The whole promise at once: exactly one right answer, whoever is killed meanwhile."""

import pytest
from faults.history import Terms
from faults.yard import Yard

ATTEMPTS = 10


@pytest.mark.parametrize(
    ("requests", "deaths_of_the_router"),
    [
        (500, 1),
        pytest.param(10_000, 5, marks=[pytest.mark.soak, pytest.mark.timeout(1200)]),
    ],
)
def test_one_right_answer_whoever_is_killed(
    yard: Yard, requests: int, deaths_of_the_router: int
) -> None:
    """Four workers, one of them killed every second; clients that only resend on a time-out."""
    yard.terms = Terms(executions=ATTEMPTS, router_died=True)
    yard.start_router(max_attempts=ATTEMPTS)
    yard.start_workers(4)
    names = [f"worker-{number}" for number in range(1, 5)]
    crowd = yard.crowd(seats=64, resend_after_s=3)
    for _ in range(requests):
        crowd.ask(yard.request(f"sleep {yard.random.uniform(0, 0.1):.3f}", timeout_s=120))
    with yard.restarting(*names), yard.killing(*names, every_s=1.0):
        for death in range(1, deaths_of_the_router + 1):
            yard.await_answered(requests * death // (deaths_of_the_router + 1), 900)
            yard.router.kill()
            yard.start_router(max_attempts=ATTEMPTS)
        crowd.wait(900)
    yard.judge()
