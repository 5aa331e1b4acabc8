"""Workers that fall silent, vanish or leave, and what becomes of their jobs."""

from typing import Any

import pytest

from pipeline_protocol.link import (
    CancelJob,
    Goodbye,
    HeldJob,
    RefusalReason,
    Refused,
    Result,
    ResultAck,
    WorkerHeartbeat,
)
from pipeline_router.commands import Tell
from pipeline_router.events import WorkerSaid


def silence(harness: Any, *workers: Any) -> None:
    for worker in workers:
        worker.beats = False
    harness.wait(4)


def test_a_silent_workers_job_goes_first_in_the_queue_to_another(harness: Any) -> None:
    lost, other = harness.worker("lost"), harness.worker("other")
    client = harness.ask("first")
    harness.ask("second")
    harness.ask("third")
    silence(harness, lost)
    assert other.bodies == ["second"]
    other.finish()
    assert other.bodies == ["second", "first"]
    assert other.jobs[1].attempt == 2
    other.finish()
    assert harness.code(client) == 200
    assert other.bodies == ["second", "first", "third"]


def test_a_connection_that_is_gone_is_noticed_at_the_next_heartbeat(harness: Any) -> None:
    lost, other = harness.worker("lost"), harness.worker("other")
    harness.ask()
    harness.cut(lost)
    harness.wait(1.1)
    assert len(other.jobs) == 1


@pytest.mark.parametrize("topics", [(), ("ruby",)])
def test_what_comes_just_after_a_workers_loss_waits_for_it_as_what_came_before(
    harness: Any, topics: tuple[str, ...]
) -> None:
    lost = harness.worker("lost", *topics)
    before = harness.ask("before")
    harness.cut(lost)
    harness.wait(1.1)
    after = harness.ask("after")
    assert harness.code(after) is None
    back = harness.worker("lost", *topics)
    back.finish()
    back.finish()
    assert (harness.code(before), harness.code(after)) == (200, 200)


def test_a_worker_that_does_not_come_back_is_waited_for_so_long_and_no_longer(build: Any) -> None:
    harness = build(wanted=[("ruby", build.V1), ("bash", build.V1)])
    lost = harness.worker("lost", "ruby")
    harness.cut(lost)
    harness.wait(1.1)
    other_track = harness.ask("other", track_slug="bash")
    assert harness.code(other_track) == 503, "it never served that"
    waiting = harness.ask("waiting")
    harness.wait(2)
    assert harness.code(waiting) is None
    harness.wait(3)
    assert harness.code(waiting) == 503
    assert harness.code(harness.ask("late")) == 503, "at once: nobody is expected any more"


def test_a_worker_that_was_told_to_restart_is_waited_for(harness: Any) -> None:
    worker = harness.worker("worker")
    harness.ask(action="restart_workers", identity="worker", force=False)
    worker.say(Goodbye())
    client = harness.ask("meanwhile")
    assert harness.code(client) is None
    harness.worker("worker").finish()
    assert harness.code(client) == 200


def test_lost_too_often_is_510_and_says_how(harness: Any) -> None:
    workers = [harness.worker(f"w{n}") for n in range(3)]
    client = harness.ask()
    silence(harness, workers[0])
    assert harness.code(client) is None
    silence(harness, workers[1])
    assert harness.code(client) == 510
    context = harness.reply(client).context
    assert (context.worker, context.attempt) == ("w1", 2)
    assert not workers[2].jobs


def test_what_goes_wrong_with_a_job_is_logged_with_its_id(harness: Any) -> None:
    workers = [harness.worker(f"w{n}") for n in range(3)]
    harness.ask("unlucky")
    silence(harness, workers[0])
    silence(harness, workers[1])
    harness.ask("fine")
    workers[2].finish()
    harness.ask("not-set-up")
    workers[2].finish(code=512)
    noted = list(zip(harness.noted_requests, harness.notes, strict=True))
    again, given_up = [note for request, note in noted if request == "unlucky"]
    assert "it is done again" in again
    assert "given up: 2 workers were lost" in given_up
    (answered,) = [note for request, note in noted if request == "not-set-up"]
    assert "answered 512" in answered
    assert "fine" not in [request for request, _ in noted]


def test_max_attempts_says_how_often(build: Any) -> None:
    harness = build(max_attempts=1)
    lost = harness.worker("lost")
    harness.worker("other")
    client = harness.ask()
    silence(harness, lost)
    assert harness.code(client) == 510


def test_suspects_are_retried_alone_each_on_an_idle_worker(harness: Any) -> None:
    lost = harness.worker("lost", slots=2)
    harness.ask("s1")
    harness.ask("s2")
    others = [harness.worker(f"o{n}", slots=2) for n in range(2)]
    silence(harness, lost)
    assert [worker.bodies for worker in others] == [["s1"], ["s2"]]
    assert all(worker.jobs[0].alone for worker in others)
    waiting = harness.ask("innocent")
    assert [len(worker.jobs) for worker in others] == [1, 1]
    others[0].finish()
    assert others[0].bodies == ["s1", "innocent"]
    assert not others[0].jobs[1].alone
    assert harness.code(waiting) is None


def test_a_suspect_waits_until_a_busy_worker_has_finished_everything(harness: Any) -> None:
    lost = harness.worker("lost", "ruby")
    suspect = harness.ask("suspect")
    busy = harness.worker("busy", slots=3)
    harness.ask("a")
    harness.ask("b")
    silence(harness, lost)
    harness.ask("c")
    assert busy.bodies == ["a", "b"], "reserved: the third slot is left free"
    busy.finish(0)
    assert busy.bodies == ["a", "b"]
    busy.finish(1)
    assert busy.bodies == ["a", "b", "suspect"]
    busy.finish(2)
    assert busy.bodies == ["a", "b", "suspect", "c"]
    assert harness.code(suspect) == 200


def test_a_reserved_worker_is_free_again_when_its_suspect_is_taken_back(harness: Any) -> None:
    lost = harness.worker("lost", "ruby")
    harness.ask("suspect")
    busy = harness.worker("busy", slots=2)
    harness.ask("a")
    silence(harness, lost)
    harness.ask("b")
    assert busy.bodies == ["a"]
    harness.ask("suspect", action="cancel")
    assert busy.bodies == ["a", "b"]


def test_a_lost_reserved_worker_passes_its_suspect_on(harness: Any) -> None:
    lost = harness.worker("lost", "ruby")
    client = harness.ask("suspect")
    busy = harness.worker("busy", slots=2)
    harness.ask("a")
    silence(harness, lost)
    third = harness.worker("third")
    assert not third.jobs, "reserved elsewhere"
    silence(harness, busy)
    assert third.bodies == ["suspect"]
    third.finish()
    assert harness.code(client) == 200


def test_a_job_is_never_retried_past_its_deadline(harness: Any) -> None:
    lost = harness.worker("lost")
    client = harness.ask(timeout_s=2)
    harness.worker("other")
    silence(harness, lost)
    assert harness.code(client) == 504


def test_what_could_not_be_handed_over_is_no_suspect(harness: Any) -> None:
    gone, other = harness.worker("gone"), harness.worker("other")
    harness.cut(gone)
    client = harness.ask()
    assert [job.alone for job in other.jobs] == [False]
    silence(harness, other)
    assert harness.code(client) is None, "only one worker was lost with it"


def test_a_worker_that_says_goodbye_leaves_no_suspects(harness: Any) -> None:
    leaving, other = harness.worker("leaving"), harness.worker("other")
    harness.ask()
    leaving.say(Goodbye())
    assert [job.alone for job in other.jobs] == [False]


def test_a_lost_worker_that_comes_back_is_told_to_say_hello(harness: Any) -> None:
    lost = harness.worker("lost")
    silence(harness, lost)
    lost.say(WorkerHeartbeat(0))
    assert [refused.why for refused in lost.heard(Refused)] == [RefusalReason.UNKNOWN_SESSION]


def test_a_lost_worker_that_comes_back_goes_on_with_its_job(harness: Any) -> None:
    lost = harness.worker("lost")
    client = harness.ask()
    silence(harness, lost)
    assert harness.code(client) is None
    harness.worker("lost", instance="lost", jobs=(lost.held(),), peer=b"again")
    back = harness.workers[b"again"]
    assert not back.jobs
    back.say(Result(lost.jobs[0].job, 1, 200), b'{"status": {"code": 200, "message": "OK"}}')
    assert harness.code(client) == 200


def test_the_first_result_wins_and_later_ones_are_acknowledged(harness: Any) -> None:
    lost, other = harness.worker("lost"), harness.worker("other")
    client = harness.ask()
    silence(harness, lost)
    held = lost.held(done=True)
    back = harness.worker("lost", instance="lost", jobs=(held,), peer=b"again")
    back.told += lost.told
    back.finish(0, said="first")
    assert harness.response(client) == "first"
    assert len(other.heard(CancelJob)) == 1
    other.finish(said="second")
    assert other.acked()
    assert harness.response(client) == "first"


FORGED = b'{"status": {"code": 200, "message": "OK"}, "response": "FORGED"}'


def test_nobody_elses_result_counts(harness: Any) -> None:
    """A job's number can be guessed; neither a channel nor an attempt that is guessed helps."""
    worker = harness.worker("w1")
    client = harness.ask()
    liars = [
        harness.worker("liar", channel="representers", ready=()),
        harness.worker("other", "bash", ready=()),
    ]
    job = worker.jobs[0]
    for liar in liars:
        for attempt in (job.attempt, job.attempt + 1):
            liar.say(Result(job.job, attempt, 200), FORGED)
    assert harness.code(client) is None
    worker.finish(said="true")
    assert harness.response(client) == "true"


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("with_id", [True, False])
def test_a_hello_that_lists_a_guessed_job_is_not_believed(
    harness: Any, done: bool, waits: bool, with_id: bool
) -> None:
    worker = harness.worker("w1")
    fields = {} if with_id else {"action": "list_available_containers", "track_slug": "ruby"}
    if not with_id:
        worker = harness.worker("b1", channel="builders", ready=())
        fields["channel"] = "test_runners"
    first = harness.ask(**fields)
    clients = [first, harness.ask(**fields)] if waits else [first]
    job = worker.jobs[0].job + waits
    for channel in ("representers", worker.hello.channel):
        guess = HeldJob(b"guessed", job, 1, 1000, done)
        for held in (guess, HeldJob(b"", job, 1, 1000, done)):
            liar = harness.worker(
                f"liar-{channel}", channel=channel, ready=(), jobs=(held,), draining=True
            )
            liar.say(Result(job, 1, 200), FORGED)
            liar.say(Goodbye())
    for client in clients:
        worker.finish(said="true")
        assert harness.response(client) == "true"


def test_a_lost_workers_name_alone_proves_nothing(harness: Any) -> None:
    lost, other = harness.worker("lost"), harness.worker("other")
    client = harness.ask()
    silence(harness, lost)
    liar = harness.worker("lost", instance="another process", peer=b"liar")
    liar.say(Result(lost.jobs[0].job, 1, 200), FORGED)
    assert harness.code(client) is None
    other.finish(said="true")
    assert harness.response(client) == "true"


def test_a_request_seen_on_another_channel_is_not_answered_from_there(harness: Any) -> None:
    """Whoever has seen a request elsewhere knows its key, and is of another channel still."""
    worker = harness.worker("w1")
    client = harness.ask()
    key = worker.jobs[0].key
    silence(harness, worker)
    liar = harness.worker(
        "liar", channel="representers", ready=(), jobs=(HeldJob(key, 99, 1, 1000, True),)
    )
    liar.say(Result(99, 1, 200), FORGED)
    harness.worker("w2").finish(said="true")
    assert harness.response(client) == "true"


def test_results_that_come_in_one_turn_are_acknowledged_together(harness: Any) -> None:
    workers = [harness.worker(name, slots=3) for name in ("one", "other")]
    for number in range(6):
        harness.ask(str(number))
    for worker in workers:
        for job in worker.jobs:
            done = Result(job.job, job.attempt, 200)
            harness.core.take_in(WorkerSaid(worker.peer, done, b"{}"), harness.now)
    told = [command for command in harness.core.commands() if isinstance(command, Tell)]
    acks = {tell.peer: tell.message for tell in told if isinstance(tell.message, ResultAck)}
    assert len(told) == len(acks) == 2
    for worker in workers:
        assert acks[worker.peer].results == tuple((job.job, job.attempt) for job in worker.jobs)
    assert not harness.core.commands()


def test_a_lost_workers_job_that_runs_elsewhere_by_now_is_cancelled_there(harness: Any) -> None:
    lost, other = harness.worker("lost"), harness.worker("other")
    client = harness.ask()
    silence(harness, lost)
    back = harness.worker("lost", instance="lost", jobs=(lost.held(),), peer=b"again")
    assert [cancel.attempt for cancel in back.heard(CancelJob)] == [1]
    harness.ask("next")
    assert not back.jobs, "its slot is not free before the result"
    back.told += lost.told
    back.finish(0, code=499)
    assert harness.code(client) is None, "a cancelled attempt does not win"
    assert back.bodies[-1] == "next"
    other.finish()
    assert harness.code(client) == 200


def test_waiting_jobs_outlive_their_last_worker_for_a_moment(harness: Any) -> None:
    lost = harness.worker("lost")
    running, waiting = harness.ask(), harness.ask()
    harness.cut(lost)
    harness.wait(1.1)
    new = harness.ask()
    assert [harness.code(client) for client in (running, waiting, new)] == [None] * 3
    harness.wait(4)
    assert [harness.code(client) for client in (running, waiting, new)] == [503] * 3


def test_each_time_that_no_worker_is_left_jobs_wait_as_long(harness: Any) -> None:
    for name in ("first", "second"):
        lost = harness.worker(name)
        client = harness.ask()
        harness.cut(lost)
        harness.wait(2)
        assert harness.code(client) is None, "not after less than `liveness_s`"
        back = harness.worker(f"{name} again")
        back.finish()
        assert harness.code(client) == 200
        back.say(Goodbye())
        harness.wait(60)


def test_a_worker_back_in_time_takes_them(harness: Any) -> None:
    harness.cut(harness.worker("w1"))
    client = harness.ask()
    harness.wait(2)
    back = harness.worker("w1", peer=b"again", instance="second")
    back.finish()
    assert harness.code(client) == 200


def test_a_router_that_slept_blames_nobody(harness: Any) -> None:
    worker = harness.worker()
    client = harness.ask()
    worker.beats = False
    harness.now += 30
    harness.wait(0.1)
    worker.beats = True
    harness.wait(5)
    worker.finish()
    assert harness.code(client) == 200
    assert not worker.heard(Refused)
