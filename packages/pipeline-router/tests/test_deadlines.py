"""Deadlines, cancelling and progress."""

from typing import Any

import pytest

from pipeline_protocol.link import CancelJob, Progress


def test_a_deadline_that_passes_while_waiting_is_504(house: Any) -> None:
    house.worker()
    house.ask()
    client = house.ask(timeout_s=2)
    house.wait(1.9)
    assert house.code(client) is None
    house.wait(0.2)
    assert house.code(client) == 504


def test_a_deadline_that_passes_while_running_cancels_and_the_slot_comes_with_the_result(
    house: Any,
) -> None:
    worker = house.worker()
    client = house.ask(timeout_s=2)
    waiting = house.ask()
    house.wait(2.1)
    assert house.code(client) == 504
    job = worker.jobs[0]
    assert worker.heard(CancelJob) == [CancelJob(job.job, job.attempt)]
    assert len(worker.jobs) == 1, "the slot is not free before its result"
    worker.finish(0, code=499)
    assert len(worker.jobs) == 2
    assert house.code(waiting) is None


def test_a_job_says_what_is_left_and_how_long_it_waited(house: Any) -> None:
    worker = house.worker()
    house.ask()
    house.ask(timeout_s=30)
    house.wait(10)
    worker.finish()
    job = worker.jobs[1]
    assert job.queued_ms == pytest.approx(10_000, abs=5)
    assert job.remaining_ms == pytest.approx(20_000, abs=5)


@pytest.mark.parametrize(
    ("asked", "configured", "lasts"), [(None, 3600, 60), (5, 3600, 5), (500, 100, 100)]
)
def test_timeouts_have_a_default_and_a_bound(
    build: Any, asked: float | None, configured: float, lasts: float
) -> None:
    house = build(max_timeout_s=configured)
    worker = house.worker()
    house.ask(**({"timeout_s": asked} if asked else {}))
    assert worker.jobs[0].remaining_ms == pytest.approx(lasts * 1000)


def test_builds_may_take_half_an_hour(house: Any) -> None:
    builder = house.worker("b", channel="builders")
    build = {"action": "build_container", "track_slug": "ruby", "channel": "test_runners"}
    house.ask(git_reference="main", **build)
    assert builder.jobs[0].remaining_ms == 1_800_000


def test_cancelling_what_waits(house: Any) -> None:
    worker = house.worker()
    house.ask()
    client = house.ask("mine")
    canceller = house.ask("mine", action="cancel")
    assert house.code(client) == 499
    assert house.response(canceller) == {"cancelled": 1}
    worker.finish()
    assert len(worker.jobs) == 1


def test_cancelling_what_runs(house: Any) -> None:
    worker = house.worker()
    client = house.ask("mine")
    house.ask("mine", action="cancel", of_action="test_solution")
    assert house.code(client) == 499
    assert len(worker.heard(CancelJob)) == 1
    worker.finish(code=499)
    assert worker.acked()


def test_cancelling_what_is_not_there_takes_nothing_back(house: Any) -> None:
    assert house.response(house.ask("mine", action="cancel")) == {"cancelled": 0}


def test_one_id_under_two_actions_must_be_told_apart(house: Any) -> None:
    house.worker()
    house.worker("b", channel="builders")
    house.ask("mine")
    house.ask("mine", action="list_available_containers", track_slug="r", channel="test_runners")
    both = house.ask("mine", action="cancel")
    assert house.code(both) == 502
    assert "of_action" in house.error(both)
    one = house.ask("mine", action="cancel", of_action="test_solution")
    assert house.response(one) == {"cancelled": 1}


def test_progress_goes_to_those_who_asked_for_it(house: Any) -> None:
    worker = house.worker(slots=2)
    asked, silent = house.ask(progress=True), house.ask()
    for job in worker.jobs:
        worker.say(Progress(job.job, job.attempt), b'["a line"]')
    assert house.answers[asked] == [b'{"progress":{"lines":["a line"]}}']
    assert house.answers[silent] == []


def test_progress_after_the_end_goes_nowhere(house: Any) -> None:
    worker = house.worker()
    client = house.ask(progress=True)
    worker.finish()
    worker.say(Progress(worker.jobs[0].job, 1), b'["late"]')
    assert len(house.answers[client]) == 1
