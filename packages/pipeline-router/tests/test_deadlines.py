"""Deadlines, cancelling and progress."""

from typing import Any

import pytest

from pipeline_protocol.link import CancelJob, Progress


def test_a_deadline_that_passes_while_waiting_is_504(harness: Any) -> None:
    harness.worker()
    harness.ask()
    client = harness.ask(timeout_s=2)
    harness.wait(1.9)
    assert harness.code(client) is None
    harness.wait(0.2)
    assert harness.code(client) == 504


def test_a_deadline_that_passes_while_running_cancels_and_the_slot_comes_with_the_result(
    harness: Any,
) -> None:
    worker = harness.worker()
    client = harness.ask(timeout_s=2)
    waiting = harness.ask()
    harness.wait(2.1)
    assert harness.code(client) == 504
    job = worker.jobs[0]
    assert worker.heard(CancelJob) == [CancelJob(job.job, job.attempt)]
    assert len(worker.jobs) == 1, "the slot is not free before its result"
    worker.finish(0, code=499)
    assert len(worker.jobs) == 2
    assert harness.code(waiting) is None


def test_a_job_says_what_is_left_and_how_long_it_waited(harness: Any) -> None:
    worker = harness.worker()
    harness.ask()
    harness.ask(timeout_s=30)
    harness.wait(10)
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
    harness = build(max_timeout_s=configured)
    worker = harness.worker()
    harness.ask(**({"timeout_s": asked} if asked else {}))
    assert worker.jobs[0].remaining_ms == pytest.approx(lasts * 1000)


def test_builds_may_take_half_an_hour(harness: Any) -> None:
    builder = harness.worker("b", channel="builders")
    build = {"action": "build_container", "track_slug": "ruby", "channel": "test_runners"}
    harness.ask(git_reference="main", **build)
    assert builder.jobs[0].remaining_ms == 1_800_000


def test_cancelling_what_waits(harness: Any) -> None:
    worker = harness.worker()
    harness.ask()
    client = harness.ask("mine")
    canceller = harness.ask("mine", action="cancel")
    assert harness.code(client) == 499
    assert harness.response(canceller) == {"cancelled": 1}
    worker.finish()
    assert len(worker.jobs) == 1


def test_cancelling_what_runs(harness: Any) -> None:
    worker = harness.worker()
    client = harness.ask("mine")
    harness.ask("mine", action="cancel", of_action="test_solution")
    assert harness.code(client) == 499
    assert len(worker.heard(CancelJob)) == 1
    worker.finish(code=499)
    assert worker.acked()


def test_cancelling_what_is_not_there_takes_nothing_back(harness: Any) -> None:
    assert harness.response(harness.ask("mine", action="cancel")) == {"cancelled": 0}


def test_one_id_under_two_actions_must_be_told_apart(harness: Any) -> None:
    harness.worker()
    harness.worker("b", channel="builders")
    harness.ask("mine")
    harness.ask("mine", action="list_available_containers", track_slug="r", channel="test_runners")
    both = harness.ask("mine", action="cancel")
    assert harness.code(both) == 502
    assert "of_action" in harness.error(both)
    one = harness.ask("mine", action="cancel", of_action="test_solution")
    assert harness.response(one) == {"cancelled": 1}


def test_progress_goes_to_those_who_asked_for_it(harness: Any) -> None:
    worker = harness.worker(slots=2)
    asked, silent = harness.ask(progress=True), harness.ask()
    for job in worker.jobs:
        worker.say(Progress(job.job, job.attempt), b'["a line"]')
    assert harness.answers[asked] == [b'{"progress":{"lines":["a line"]}}']
    assert harness.answers[silent] == []


def test_progress_after_the_end_goes_nowhere(harness: Any) -> None:
    worker = harness.worker()
    client = harness.ask(progress=True)
    worker.finish()
    worker.say(Progress(worker.jobs[0].job, 1), b'["late"]')
    assert len(harness.answers[client]) == 1
