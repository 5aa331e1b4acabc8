"""Workers that fall silent, vanish or leave, and what becomes of their jobs."""

from typing import Any

from pipeline_protocol.link import (
    CancelJob,
    Goodbye,
    RefusalReason,
    Refused,
    Result,
    ResultAck,
    WorkerHeartbeat,
)
from pipeline_router.commands import Tell
from pipeline_router.events import WorkerSaid


def silence(house: Any, *workers: Any) -> None:
    for worker in workers:
        worker.beats = False
    house.wait(4)


def test_a_silent_workers_job_goes_first_in_the_queue_to_another(house: Any) -> None:
    lost, other = house.worker("lost"), house.worker("other")
    client = house.ask("first")
    house.ask("second")
    house.ask("third")
    silence(house, lost)
    assert other.bodies == ["second"]
    other.finish()
    assert other.bodies == ["second", "first"]
    assert other.jobs[1].attempt == 2
    other.finish()
    assert house.code(client) == 200
    assert other.bodies == ["second", "first", "third"]


def test_a_connection_that_is_gone_is_noticed_at_the_next_heartbeat(house: Any) -> None:
    lost, other = house.worker("lost"), house.worker("other")
    house.ask()
    house.cut(lost)
    house.wait(1.1)
    assert len(other.jobs) == 1


def test_lost_too_often_is_510_and_says_how(house: Any) -> None:
    workers = [house.worker(f"w{n}") for n in range(3)]
    client = house.ask()
    silence(house, workers[0])
    assert house.code(client) is None
    silence(house, workers[1])
    assert house.code(client) == 510
    context = house.reply(client).context
    assert (context.worker, context.attempt) == ("w1", 2)
    assert not workers[2].jobs


def test_max_attempts_says_how_often(build: Any) -> None:
    house = build(max_attempts=1)
    lost = house.worker("lost")
    house.worker("other")
    client = house.ask()
    silence(house, lost)
    assert house.code(client) == 510


def test_suspects_are_retried_alone_each_on_an_idle_worker(house: Any) -> None:
    lost = house.worker("lost", slots=2)
    house.ask("s1")
    house.ask("s2")
    others = [house.worker(f"o{n}", slots=2) for n in range(2)]
    silence(house, lost)
    assert [worker.bodies for worker in others] == [["s1"], ["s2"]]
    assert all(worker.jobs[0].alone for worker in others)
    waiting = house.ask("innocent")
    assert [len(worker.jobs) for worker in others] == [1, 1]
    others[0].finish()
    assert others[0].bodies == ["s1", "innocent"]
    assert not others[0].jobs[1].alone
    assert house.code(waiting) is None


def test_a_suspect_waits_until_a_busy_worker_has_finished_everything(house: Any) -> None:
    lost = house.worker("lost", "ruby")
    suspect = house.ask("suspect")
    busy = house.worker("busy", slots=3)
    house.ask("a")
    house.ask("b")
    silence(house, lost)
    house.ask("c")
    assert busy.bodies == ["a", "b"], "reserved: the third slot is left free"
    busy.finish(0)
    assert busy.bodies == ["a", "b"]
    busy.finish(1)
    assert busy.bodies == ["a", "b", "suspect"]
    busy.finish(2)
    assert busy.bodies == ["a", "b", "suspect", "c"]
    assert house.code(suspect) == 200


def test_a_reserved_worker_is_free_again_when_its_suspect_is_taken_back(house: Any) -> None:
    lost = house.worker("lost", "ruby")
    house.ask("suspect")
    busy = house.worker("busy", slots=2)
    house.ask("a")
    silence(house, lost)
    house.ask("b")
    assert busy.bodies == ["a"]
    house.ask("suspect", action="cancel")
    assert busy.bodies == ["a", "b"]


def test_a_lost_reserved_worker_passes_its_suspect_on(house: Any) -> None:
    lost = house.worker("lost", "ruby")
    client = house.ask("suspect")
    busy = house.worker("busy", slots=2)
    house.ask("a")
    silence(house, lost)
    third = house.worker("third")
    assert not third.jobs, "reserved elsewhere"
    silence(house, busy)
    assert third.bodies == ["suspect"]
    third.finish()
    assert house.code(client) == 200


def test_a_job_is_never_retried_past_its_deadline(house: Any) -> None:
    lost = house.worker("lost")
    client = house.ask(timeout_s=2)
    house.worker("other")
    silence(house, lost)
    assert house.code(client) == 504


def test_what_could_not_be_handed_over_is_no_suspect(house: Any) -> None:
    gone, other = house.worker("gone"), house.worker("other")
    house.cut(gone)
    client = house.ask()
    assert [job.alone for job in other.jobs] == [False]
    silence(house, other)
    assert house.code(client) is None, "only one worker was lost with it"


def test_a_worker_that_says_goodbye_leaves_no_suspects(house: Any) -> None:
    leaving, other = house.worker("leaving"), house.worker("other")
    house.ask()
    leaving.say(Goodbye())
    assert [job.alone for job in other.jobs] == [False]


def test_a_lost_worker_that_comes_back_is_told_to_say_hello(house: Any) -> None:
    lost = house.worker("lost")
    silence(house, lost)
    lost.say(WorkerHeartbeat(0))
    assert [refused.why for refused in lost.heard(Refused)] == [RefusalReason.UNKNOWN_SESSION]


def test_a_lost_worker_that_comes_back_goes_on_with_its_job(house: Any) -> None:
    lost = house.worker("lost")
    client = house.ask()
    silence(house, lost)
    assert house.code(client) is None
    house.worker("lost", instance="lost", jobs=(lost.held(),), peer=b"again")
    back = house.workers[b"again"]
    assert not back.jobs
    back.say(Result(lost.jobs[0].job, 1, 200), b'{"status": {"code": 200, "message": "OK"}}')
    assert house.code(client) == 200


def test_the_first_result_wins_and_later_ones_are_acknowledged(house: Any) -> None:
    lost, other = house.worker("lost"), house.worker("other")
    client = house.ask()
    silence(house, lost)
    held = lost.held(done=True)
    back = house.worker("lost", instance="lost", jobs=(held,), peer=b"again")
    back.told += lost.told
    back.finish(0, said="first")
    assert house.response(client) == "first"
    assert len(other.heard(CancelJob)) == 1
    other.finish(said="second")
    assert other.acked()
    assert house.core.counters.late_results == 1


def test_results_that_come_in_one_turn_are_acknowledged_together(house: Any) -> None:
    workers = [house.worker(name, slots=3) for name in ("one", "other")]
    for number in range(6):
        house.ask(str(number))
    for worker in workers:
        for job in worker.jobs:
            done = Result(job.job, job.attempt, 200)
            house.core.take_in(WorkerSaid(worker.peer, done, b"{}"), house.now)
    told = [command for command in house.core.commands() if isinstance(command, Tell)]
    acks = {tell.peer: tell.message for tell in told if isinstance(tell.message, ResultAck)}
    assert len(told) == len(acks) == 2
    for worker in workers:
        assert acks[worker.peer].results == tuple((job.job, job.attempt) for job in worker.jobs)
    assert not house.core.commands()


def test_a_lost_workers_job_that_runs_elsewhere_by_now_is_cancelled_there(house: Any) -> None:
    lost, other = house.worker("lost"), house.worker("other")
    client = house.ask()
    silence(house, lost)
    back = house.worker("lost", instance="lost", jobs=(lost.held(),), peer=b"again")
    assert [cancel.attempt for cancel in back.heard(CancelJob)] == [1]
    house.ask("next")
    assert not back.jobs, "its slot is not free before the result"
    back.told += lost.told
    back.finish(0, code=499)
    assert house.code(client) is None, "a cancelled attempt does not win"
    assert back.bodies[-1] == "next"
    other.finish()
    assert house.code(client) == 200


def test_waiting_jobs_outlive_their_last_worker_for_a_moment(house: Any) -> None:
    lost = house.worker("lost")
    running, waiting = house.ask(), house.ask()
    house.cut(lost)
    house.wait(1.1)
    assert (house.code(running), house.code(waiting)) == (None, None)
    assert house.code(house.ask()) == 503, "new ones are refused at once"
    house.wait(4)
    assert (house.code(running), house.code(waiting)) == (503, 503)


def test_each_time_that_no_worker_is_left_jobs_wait_as_long(house: Any) -> None:
    for name in ("first", "second"):
        lost = house.worker(name)
        client = house.ask()
        house.cut(lost)
        house.wait(2)
        assert house.code(client) is None, "not after less than `liveness_s`"
        back = house.worker(f"{name} again")
        back.finish()
        assert house.code(client) == 200
        back.say(Goodbye())
        house.wait(60)


def test_a_worker_back_in_time_takes_them(house: Any) -> None:
    house.cut(house.worker("w1"))
    client = house.ask()
    house.wait(2)
    back = house.worker("w1", peer=b"again", instance="second")
    back.finish()
    assert house.code(client) == 200


def test_a_router_that_slept_blames_nobody(house: Any) -> None:
    worker = house.worker()
    client = house.ask()
    worker.beats = False
    house.now += 30
    house.wait(0.1)
    worker.beats = True
    house.wait(5)
    worker.finish()
    assert house.code(client) == 200
    assert not worker.heard(Refused)
