"""Who gets the next job: protocol.md, Scheduling."""

from typing import Any

import pytest

from pipeline_protocol.link import Readiness
from pipeline_router.model import MAX_SERVED


def test_a_scoped_worker_comes_before_a_generic_one(harness: Any) -> None:
    generic, scoped = harness.worker("generic"), harness.worker("scoped", "ruby")
    harness.ask()
    assert (len(scoped.jobs), len(generic.jobs)) == (1, 0)


def test_a_generic_worker_helps_when_scoped_ones_are_busy(harness: Any) -> None:
    generic, scoped = harness.worker("generic"), harness.worker("scoped", "ruby")
    harness.ask()
    harness.ask()
    assert (len(scoped.jobs), len(generic.jobs)) == (1, 1)


def test_a_worker_with_many_topics_is_scoped_too(build: Any) -> None:
    harness = build(wanted=[("ruby", build.V1), ("bash", build.V1)])
    generic, scoped = harness.worker("generic"), harness.worker("scoped", "ruby", "bash")
    harness.ask(track_slug="bash")
    assert (len(scoped.jobs), len(generic.jobs)) == (1, 0)


def test_scoped_to_another_track_is_not_suitable(build: Any) -> None:
    harness = build(wanted=[("ruby", build.V1), ("bash", build.V1)])
    harness.worker("other", "bash")
    client = harness.ask()
    assert harness.code(client) == 503
    assert harness.reply(client).context.workers.scoped == 0


def test_the_least_recently_used_worker_is_next(harness: Any) -> None:
    workers = [harness.worker(f"w{n}", slots=2) for n in range(3)]
    for _ in range(3):
        harness.ask()
    assert [len(worker.jobs) for worker in workers] == [1, 1, 1]
    workers[1].finish()
    harness.ask()
    assert [len(worker.jobs) for worker in workers] == [2, 1, 1]


def test_a_worker_is_never_sent_more_than_its_free_slots(harness: Any) -> None:
    worker = harness.worker(slots=2)
    for _ in range(5):
        harness.ask()
    assert len(worker.jobs) == 2
    worker.finish(0)
    assert len(worker.jobs) == 3


def test_a_freed_slot_takes_the_job_that_came_first_over_all_tracks(build: Any) -> None:
    harness = build(wanted=[("ruby", build.V1), ("bash", build.V1), ("ruby", build.V2)])
    worker = harness.worker()
    harness.ask("running")
    for name, track, version in (
        ("a", "bash", build.V1),
        ("b", "ruby", build.V2),
        ("c", "ruby", build.V1),
        ("d", "bash", build.V1),
    ):
        harness.ask(name, track_slug=track, container_version=version)
    for _ in range(4):
        worker.finish()
    assert worker.bodies == ["running", "a", "b", "c", "d"]


def test_background_work_waits_for_interactive_work(harness: Any) -> None:
    worker = harness.worker()
    harness.ask("running")
    harness.ask("b1", priority="background")
    harness.ask("b2", priority="background")
    harness.ask("i1")
    for _ in range(3):
        worker.finish()
    assert worker.bodies == ["running", "i1", "b1", "b2"]


def test_a_scoped_worker_takes_only_its_tracks_from_the_queue(build: Any) -> None:
    harness = build(wanted=[("ruby", build.V1), ("bash", build.V1)])
    ruby, bash = harness.worker("r", "ruby"), harness.worker("b", "bash")
    for name, track in (("r1", "ruby"), ("b1", "bash"), ("b2", "bash"), ("r2", "ruby")):
        harness.ask(name, track_slug=track)
    bash.finish()
    ruby.finish()
    assert (ruby.bodies, bash.bodies) == (["r1", "r2"], ["b1", "b2"])


def test_no_worker_is_503_at_once_with_counts_and_a_command(harness: Any) -> None:
    client = harness.ask()
    assert harness.code(client) == 503
    assert "`pipeline-worker listen worker-1 tcp://localhost:5555/test_runners" in harness.error(
        client
    )
    context = harness.reply(client).context
    assert (context.workers.scoped, context.workers.generic, context.workers.busy) == (0, 0, 0)
    assert context.retry_after_s > 0


def test_a_full_queue_is_503_with_counts(build: Any) -> None:
    harness = build(queue=2)
    harness.worker("s", "ruby")
    harness.worker("g")
    clients = [harness.ask() for _ in range(5)]
    assert [harness.code(client) for client in clients] == [None] * 4 + [503]
    context = harness.reply(clients[-1]).context
    assert (context.workers.scoped, context.workers.generic, context.workers.busy) == (1, 1, 2)
    assert context.retry_after_s > 0


def test_the_queue_is_bounded_in_bytes_too(build: Any) -> None:
    harness = build(queue_bytes=5000)
    harness.worker()
    harness.ask()
    first, second = (harness.ask(files={"big": "x" * 3000}) for _ in range(2))
    assert (harness.code(first), harness.code(second)) == (None, 503)


def test_queue_0_is_503_when_all_are_busy(build: Any) -> None:
    harness = build(queue=0)
    harness.worker()
    assert [harness.code(harness.ask()) for _ in range(2)] == [None, 503]


def test_a_version_that_is_not_wanted_is_505(harness: Any) -> None:
    harness.worker()
    client = harness.ask(container_version="other")
    assert harness.code(client) == 505
    assert harness.V1 in harness.error(client)


def test_while_a_worker_prepares_the_version_the_job_waits(harness: Any) -> None:
    worker = harness.worker(ready=())
    client = harness.ask()
    assert harness.code(client) is None
    worker.state("ruby", harness.V1, Readiness.READY)
    assert len(worker.jobs) == 1


def test_if_every_suitable_worker_failed_it_is_511_at_once(harness: Any) -> None:
    workers = [harness.worker("w1", ready=()), harness.worker("w2", "ruby", ready=())]
    waiting = harness.ask()
    for worker in workers:
        assert harness.code(waiting) is None
        worker.state("ruby", harness.V1, Readiness.FAILED, reason="disk full")
    assert harness.code(waiting) == 511
    assert harness.code(harness.ask()) == 511


def test_a_deadline_that_comes_while_they_prepare_is_511(harness: Any) -> None:
    harness.worker(ready=())
    client = harness.ask(timeout_s=2)
    harness.wait(2.5)
    assert harness.code(client) == 511


@pytest.mark.parametrize("action", ["build_container", "list_available_containers"])
def test_builders_serve_all_tracks_without_versions(harness: Any, action: str) -> None:
    builder = harness.worker("b", channel="builders")
    more = {"git_reference": "master"} if action == "build_container" else {}
    client = harness.ask(action=action, track_slug="ruby", channel="test_runners", **more)
    builder.finish()
    assert harness.code(client) == 200


def test_channels_do_not_serve_each_other(harness: Any) -> None:
    harness.worker("b", channel="builders")
    assert harness.code(harness.ask()) == 503


def test_worker_room_is_found_again_after_it_was_full(harness: Any) -> None:
    worker = harness.worker(slots=2)
    for _ in range(10):
        harness.ask()
        harness.ask()
        worker.finish(-1)
        worker.finish(-2)
    assert len(worker.jobs) == 20
    pool = harness.core.dispatcher.schedulers["test_runners"].lanes["ruby", harness.V1].generic[0]
    assert len(pool.free) == 1, "one entry a worker, however often it is used"


def test_waiting_jobs_are_taken_in_turn_by_who_asked(harness: Any) -> None:
    worker = harness.worker()
    harness.ask("a0", sender=b"a")
    for number in range(1, 5):
        harness.ask(f"a{number}", sender=b"a")
    for name in ("b1", "b2", "c1"):
        harness.ask(name, sender=name[:1].encode())
    for _ in range(7):
        worker.finish()
    assert worker.bodies == ["a0", "b1", "c1", "a1", "b2", "a2", "a3", "a4"]


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_second_client_waits_for_one_job_a_slot_at_most(harness: Any, slots: int) -> None:
    worker = harness.worker(slots=slots)
    for _ in range(50):
        harness.ask(sender=b"a")
    for name in ("b1", "b2", "b3", "b4"):
        before = len(worker.jobs)
        harness.ask(name, sender=b"b")
        for number in range(before - slots, before):
            worker.finish(number)
        assert name in worker.bodies[before:]
        worker.finish(worker.bodies.index(name))
        del harness.answers[b"b"]


def test_newcomers_without_end_do_not_keep_anybody_from_a_turn(harness: Any) -> None:
    worker = harness.worker()
    for number in range(6):
        harness.ask(f"a{number}", sender=b"a")
    for number in range(20):
        harness.ask(f"new-{number}")
        worker.finish()
    assert [name for name in worker.bodies if name.startswith("a")] == [f"a{n}" for n in range(6)]


def test_turns_hold_across_tracks_and_versions(build: Any) -> None:
    harness = build(wanted=[("ruby", build.V1), ("bash", build.V1)])
    worker = harness.worker()
    for number in range(4):
        harness.ask(f"a{number}", sender=b"a")
    harness.ask("b", sender=b"b", track_slug="bash")
    worker.finish()
    assert worker.bodies == ["a0", "b"]


def test_each_pool_of_workers_has_its_own_turns(build: Any) -> None:
    """Whoever is served well elsewhere is not last where somebody else has more."""
    harness = build(wanted=[("ruby", build.V1), ("bash", build.V1)])
    ruby, bash = harness.worker("r", "ruby"), harness.worker("b", "bash")
    for number in range(6):
        harness.ask(f"other-{number}", sender=b"other")
    harness.ask("mine", sender=b"me")
    for number in range(3):
        harness.ask(f"busy-{number}", sender=b"me", track_slug="bash")
        bash.finish()
    ruby.finish()
    assert ruby.bodies == ["other-0", "mine"]


def test_jobs_that_wait_for_the_start_are_in_turn_too(build: Any) -> None:
    harness = build(settled=False)
    worker = harness.worker(slots=2)
    for name in ("a1", "a2", "a3", "b1"):
        harness.ask(name, sender=name[:1].encode())
    harness.wait(4)
    assert worker.bodies == ["a1", "b1"]


def test_the_room_of_a_full_queue_is_shared(build: Any) -> None:
    harness = build(queue=4)
    worker = harness.worker()
    for number in range(5):
        harness.ask(f"a{number}", sender=b"a")
    assert harness.answers[b"a"] == []
    first = harness.ask("b1", sender=b"b")
    assert harness.code(first) is None
    assert harness.code(b"a") == 503, "its last one made room"
    assert "others need room" in harness.error(b"a")
    second, third = harness.ask("b2", sender=b"b"), harness.ask("c", sender=b"c")
    assert harness.answers[second] == []
    assert [len(harness.answers[b"a"]), harness.code(third)] == [3, None]
    harness.ask("b3", sender=b"b")
    assert harness.code(b"b") == 503, "its share is taken"
    for _ in range(4):
        worker.finish()
    assert worker.bodies == ["a0", "b1", "c", "a1", "b2"]


def test_room_in_bytes_is_shared_as_well(build: Any) -> None:
    harness = build(queue_bytes=20_000)
    harness.worker()
    harness.ask(sender=b"small")
    for _ in range(5):
        harness.ask(sender=b"a", files={"big": "x" * 3500})
    assert harness.answers[b"a"] == []
    other = harness.ask(sender=b"b", files={"big": "x" * 6000})
    assert (harness.code(other), len(harness.answers[b"a"])) == (None, 2)


def test_background_work_takes_no_room_from_interactive_work(build: Any) -> None:
    harness = build(queue=2)
    harness.worker()
    for _ in range(3):
        harness.ask(sender=b"a")
    assert harness.code(harness.ask(sender=b"b", priority="background")) == 503
    assert harness.answers[b"a"] == []


def test_turns_are_remembered_of_so_many_and_of_all_who_wait(harness: Any) -> None:
    worker = harness.worker(slots=2)
    for name in ("a0", "a1", "a2"):
        harness.ask(name, sender=b"a")
    for _ in range(MAX_SERVED + 10):
        harness.ask()
        worker.finish()
    (pool,) = harness.core.dispatcher.schedulers["test_runners"].lanes["ruby", harness.V1].generic
    assert len(pool.served) <= MAX_SERVED
