"""Workers let in and kept out; a router that starts again; workers that restart."""

from typing import Any

import pytest

from pipeline_protocol.link import (
    PROTOCOL,
    CancelJob,
    Configure,
    Goodbye,
    HeldJob,
    Job,
    RefusalReason,
    Refused,
    Restart,
    Result,
    RouterHeartbeat,
    Welcome,
    WorkerHeartbeat,
)
from pipeline_router.events import WorkerGarbled

REPLY = b'{"status": {"code": 200, "message": "OK"}, "response": "held"}'


def test_a_hello_is_answered_by_welcome_then_configure(harness: Any) -> None:
    worker = harness.worker("w1", "ruby")
    first, second = (message for message, _ in worker.told[:2])
    assert isinstance(first, Welcome)
    assert (first.epoch, first.installation) == (7, "1a" * 16)
    assert isinstance(second, Configure)
    assert [want.version for want in second.settings.versions] == [harness.V1]


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        ({"protocol": 99}, RefusalReason.PROTOCOL),
        ({"channel": "builders", "topics": True}, RefusalReason.TOPICS_ON_BUILDERS),
    ],
)
def test_some_are_refused(harness: Any, hello: dict[str, Any], why: RefusalReason) -> None:
    topics = ("ruby",) if hello.pop("topics", False) else ()
    worker = harness.worker("w1", *topics, **hello)
    assert [refused.why for refused in worker.heard(Refused)] == [why]
    assert not worker.heard(Welcome)


@pytest.mark.parametrize(
    ("protocol", "older"), [(PROTOCOL - 1, "worker"), (PROTOCOL + 1, "router")]
)
def test_another_protocol_is_refused_in_words_on_both_sides(
    harness: Any, protocol: int, older: str
) -> None:
    worker = harness.worker("w1", protocol=protocol)
    (refused,) = worker.heard(Refused)
    numbers = f"the router speaks protocol {PROTOCOL}, the worker {protocol}"
    assert refused.error.startswith(f"{numbers}: upgrade the {older}")
    harness.wait(2)
    assert f"the last: w1: {refused.error}" in harness.notes[-1]


def test_so_is_a_hello_that_only_another_router_could_read(harness: Any) -> None:
    worker = harness.worker("w1", protocol=PROTOCOL + 1)
    harness.do(WorkerGarbled(worker.peer, "upgrade the router", "w1"))
    assert worker.heard(Refused)[-1] == Refused(RefusalReason.PROTOCOL, "upgrade the router")
    harness.wait(2)
    assert "the last: w1: upgrade the router" in " ".join(harness.notes)


def test_heartbeats_carry_the_epoch(harness: Any) -> None:
    worker = harness.worker()
    harness.wait(3)
    assert set(worker.heard(RouterHeartbeat)) == {RouterHeartbeat(7)}
    assert 2 <= len(worker.heard(RouterHeartbeat)) <= 4


def test_a_live_worker_keeps_its_name(harness: Any) -> None:
    harness.worker("w1", peer=b"old", instance="a")
    newcomer = harness.worker("w1", peer=b"new", instance="b")
    assert [refused.why for refused in newcomer.heard(Refused)] == [RefusalReason.IDENTITY_ALIVE]
    assert not newcomer.heard(Welcome)


def test_a_dead_workers_name_is_free_at_once_and_its_jobs_are_suspects(harness: Any) -> None:
    old = harness.worker("w1", peer=b"old", instance="a")
    harness.ask()
    harness.cut(old)
    newcomer = harness.worker("w1", peer=b"new", instance="b")
    assert newcomer.heard(Welcome)
    assert [job.alone for job in newcomer.jobs] == [True]


def test_the_same_process_on_a_new_connection_goes_on(harness: Any) -> None:
    old = harness.worker("w1", peer=b"old", slots=2)
    clients = [harness.ask(), harness.ask()]
    new = harness.worker("w1", peer=b"new", slots=2, jobs=(old.held(0),))
    assert [job.attempt for job in new.jobs] == [2], "what it does not have is sent again"
    assert not new.jobs[0].alone
    new.finish()
    new.say(Result(old.jobs[0].job, 1, 200), REPLY)
    assert [harness.code(client) for client in clients] == [200, 200]


def test_a_hello_again_on_the_same_connection_keeps_the_ledger(harness: Any) -> None:
    worker = harness.worker("w1")
    harness.ask()
    again = harness.worker("w1", jobs=(worker.held(),))
    harness.ask()
    assert not again.jobs
    again.told += worker.told
    again.finish(0)
    assert len(again.jobs) == 2


def test_an_unknown_peer_that_cannot_be_understood_is_told(harness: Any) -> None:
    worker = harness.worker("w1")
    harness.do(WorkerGarbled(worker.peer, "not msgpack"))
    assert not worker.heard(Refused), "a known one is only noted"
    assert "not msgpack" in harness.notes[-1]


# --- after a start


def test_after_a_start_nothing_is_sent_for_one_heartbeat(build: Any) -> None:
    harness = build(settled=False)
    worker = harness.worker()
    harness.ask()
    harness.wait(0.9)
    assert not worker.jobs
    harness.wait(0.2)
    assert len(worker.jobs) == 1


def test_what_waited_for_a_start_goes_to_a_scoped_worker_first(build: Any) -> None:
    harness = build(settled=False)
    generic, scoped = harness.worker("generic", slots=2), harness.worker("scoped", "ruby")
    harness.ask("first")
    harness.ask("second")
    harness.wait(1.5)
    assert (scoped.bodies, generic.bodies) == (["first"], ["second"])


def test_after_a_start_nothing_is_refused_for_want_of_workers_for_a_while(build: Any) -> None:
    harness = build(settled=False)
    client = harness.ask()
    harness.wait(2.9)
    assert harness.code(client) is None
    harness.wait(1.6)
    assert harness.code(client) == 503


@pytest.mark.parametrize("hello_first", [True, False])
@pytest.mark.parametrize("done", [True, False])
def test_running_jobs_and_resent_requests_meet_by_key(
    build: Any, hello_first: bool, done: bool
) -> None:
    before = build()
    worker = before.worker()
    before.ask("same")
    held = worker.held(done=done)

    after = build(settled=False, epoch=8)
    if hello_first:
        worker = after.worker(jobs=(held,), epoch=7)
        client = after.ask("same")
    else:
        client = after.ask("same")
        worker = after.worker(jobs=(held,), epoch=7)
    after.wait(2)
    assert not worker.jobs, "it runs, or has run, already"
    worker.say(Result(held.job, held.attempt, 200), REPLY)
    assert after.response(client) == "held"


def test_a_held_result_that_nobody_asked_for_yet_is_kept_for_the_resend(build: Any) -> None:
    before = build()
    worker = before.worker()
    before.ask("same")
    held = worker.held(done=True)
    after = build(epoch=8)
    worker = after.worker(jobs=(held,), epoch=7)
    worker.say(Result(held.job, held.attempt, 200), REPLY)
    assert after.response(after.ask("same")) == "held"
    assert not worker.jobs
    assert not after.core.dispatcher.orphans


def test_what_was_cancelled_before_its_worker_came_back_is_cancelled_there_too(build: Any) -> None:
    before = build()
    worker = before.worker()
    before.ask("mine")
    held = worker.held()
    after = build(settled=False, epoch=8)
    client = after.ask("mine")
    after.ask("mine", action="cancel")
    assert after.code(client) == 499
    worker = after.worker(jobs=(held,), epoch=7)
    assert [(told.job, told.attempt) for told in worker.heard(CancelJob)] == [(held.job, 1)]
    after.wait(10)
    assert not after.core.dispatcher.taken_back


def test_an_earlier_routers_job_occupies_its_slot(build: Any) -> None:
    harness = build(epoch=8)
    worker = harness.worker(jobs=(HeldJob(b"k" * 16, 7 << 40, 1, 10_000),), epoch=7)
    harness.ask()
    assert not worker.jobs
    worker.say(Result(7 << 40, 1, 200), REPLY)
    assert len(worker.jobs) == 1


def test_an_earlier_routers_job_that_nobody_can_ask_for_again_is_cancelled(build: Any) -> None:
    harness = build(epoch=8)
    worker = harness.worker(jobs=(HeldJob(b"", 7 << 40, 1, 10_000),), epoch=7)
    assert worker.heard(CancelJob) == [CancelJob(7 << 40, 1)]


def test_a_job_that_ended_while_its_worker_was_away_is_cancelled(harness: Any) -> None:
    worker = harness.worker()
    harness.ask("mine")
    harness.ask("mine", action="cancel")
    again = harness.worker(peer=b"again", jobs=(worker.held(),))
    assert len(again.heard(CancelJob)) == 1


def test_an_adopted_job_whose_worker_is_lost_is_done_by_another(build: Any) -> None:
    before = build()
    worker = before.worker()
    before.ask("same")
    harness = build(epoch=8)
    worker = harness.worker(jobs=(worker.held(),), epoch=7)
    harness.ask("same")
    other = harness.worker("other")
    harness.cut(worker)
    harness.wait(1.5)
    assert other.bodies == ["same"]
    assert other.jobs[0].attempt == 2


# --- restarts


def test_force_worker_restart_is_for_workers_of_another_router(build: Any) -> None:
    harness = build(epoch=8, force_worker_restart=True)
    old, fresh, own = (harness.worker(f"w{epoch}", epoch=epoch) for epoch in (7, 0, 8))
    assert [len(worker.heard(Restart)) for worker in (old, fresh, own)] == [1, 0, 0]
    assert isinstance(old.told[0][0], Welcome)
    for _ in range(3):
        harness.ask()
    assert not old.jobs, "it is to bootstrap first"
    back = harness.worker("w7", epoch=0, instance="new", peer=b"w7")
    assert len(back.heard(Job)) == 1


def test_restart_workers_lets_running_jobs_end(harness: Any) -> None:
    worker = harness.worker(slots=2)
    client = harness.ask()
    assert harness.response(harness.ask(action="restart_workers")) == {"workers": ["w1"]}
    assert len(worker.heard(Restart)) == 1
    waiting = harness.ask()
    assert len(worker.jobs) == 1
    worker.finish()
    assert harness.code(client) == 200
    assert harness.code(waiting) is None, "its workers will be back"
    back = harness.worker(instance="second")
    assert len(back.jobs) == 1


# --- leaving of their own


def test_a_worker_that_says_it_drains_gets_no_more_jobs(harness: Any) -> None:
    worker = harness.worker(slots=2)
    running = harness.ask()
    worker.say(WorkerHeartbeat(1, 0.0, True))
    assert harness.code(harness.ask()) == 503, "a draining worker is not suitable"
    worker.finish()
    assert harness.code(running) == 200
    assert len(worker.jobs) == 1


def test_a_worker_that_drains_gets_no_more_jobs_from_the_next_router_either(build: Any) -> None:
    before = build()
    worker = before.worker(slots=2)
    before.ask("same")
    harness = build(epoch=8)
    back = harness.worker(slots=2, jobs=(worker.held(),), epoch=7, draining=True)
    same = harness.ask("same")
    assert harness.code(harness.ask()) == 503
    back.say(Result(worker.jobs[0].job, 1, 200), REPLY)
    assert harness.response(same) == "held"
    assert not back.jobs


def test_a_worker_told_to_restart_is_still_waited_for_when_it_says_it_drains(harness: Any) -> None:
    worker = harness.worker(slots=2)
    harness.ask()
    harness.ask(action="restart_workers")
    worker.say(WorkerHeartbeat(1, 0.0, True))
    waiting = harness.ask()
    again = harness.worker(slots=2, jobs=(worker.held(),), peer=b"again", draining=True)
    harness.wait(5)
    assert harness.code(waiting) is None
    again.say(Goodbye())
    back = harness.worker(slots=2, instance="second")
    assert len(back.jobs) == 2


def test_what_troubles_a_worker_is_shown(harness: Any) -> None:
    worker = harness.worker()
    worker.say(WorkerHeartbeat(0, 0.0, True, "this host failed its check"))
    (described,) = harness.response(harness.ask(action="describe_workers"))["workers"]
    assert described["trouble"] == "this host failed its check"
    assert described["draining"]
