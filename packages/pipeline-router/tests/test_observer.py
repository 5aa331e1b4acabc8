"""What the monitor is shown: each figure moves by its cause, and none by a stranger's words."""

import json
from typing import Any

import pytest
from support.monitors import samples_of

from pipeline_protocol.codec import decode_request
from pipeline_protocol.link import Readiness, WorkerHeartbeat
from pipeline_router.config import Config
from pipeline_router.demand import WINDOW_S
from pipeline_router.events import (
    ConfigRead,
    ConfigUnusable,
    Requested,
    Saved,
    StopAsked,
    TurnedAway,
)
from pipeline_router.metrics import WORKER_STATES

RUBY = ("test_runners", "ruby")
Samples = dict[str, dict[tuple[str, ...], float]]


def metrics(harness: Any) -> Samples:
    return samples_of(harness.core.snapshot(harness.now, 0.0))


def status(harness: Any) -> Any:
    return json.loads(harness.core.snapshot(harness.now, 0.0).status)


def unready(harness: Any) -> tuple[str, ...]:
    return harness.core.snapshot(harness.now, 0.0).unready  # type: ignore[no-any-return]


def runners(harness: Any) -> Any:
    return status(harness)["channels"]["test_runners"]


def test_answers_are_counted_by_action_and_code(harness: Any) -> None:
    worker = harness.worker(slots=4)
    for code in (200, 200, 513):
        harness.ask()
        worker.finish(code=code)
    harness.ask(container_version="git-" + "9" * 40)
    harness.ask(action="ping")
    harness.ask(action="drain_worker", identity="nobody")
    assert metrics(harness)["pipeline_requests_total"] == {
        ("test_solution", "200"): 2,
        ("test_solution", "513"): 1,
        ("test_solution", "505"): 1,
        ("ping", "200"): 1,
        ("drain_worker", "400"): 1,
    }
    assert status(harness)["answered"]["test_solution"] == {"200": 2, "513": 1, "505": 1}


def test_a_change_is_counted_when_it_is_answered(harness: Any) -> None:
    harness.saves_at_once = False
    deploy = {"action": "deploy_container_version", "channel": "test_runners"}
    harness.ask(**deploy, track_slug="ruby", new_version=harness.V2)
    assert "pipeline_requests_total" not in metrics(harness)
    harness.do(Saved("the disk is full"))
    harness.ask(**deploy, track_slug="ruby", new_version=harness.V2)
    harness.do(Saved())
    assert metrics(harness)["pipeline_requests_total"] == {
        ("deploy_container_version", "512"): 1,
        ("deploy_container_version", "200"): 1,
    }


def test_the_same_request_again_is_counted_apart(harness: Any) -> None:
    worker = harness.worker()
    harness.ask("one", sender=b"client")
    harness.ask("one", sender=b"client")
    worker.finish()
    harness.ask("one", sender=b"other")
    shown = metrics(harness)
    assert shown["pipeline_requests_total"] == {("test_solution", "200"): 1}
    assert shown["pipeline_requests_repeated_total"]["test_runners",] == 2


def test_waits_and_runs_are_measured_by_rank(harness: Any) -> None:
    worker = harness.worker()
    harness.ask()
    harness.ask(priority="background")
    harness.wait(2)
    worker.finish()
    harness.wait(3)
    worker.finish()
    shown = metrics(harness)
    waits, runs = shown["pipeline_queue_seconds_sum"], shown["pipeline_run_seconds_sum"]
    assert waits["test_runners", "interactive"] == 0
    assert waits["test_runners", "background"] == pytest.approx(2)
    assert runs["test_runners", "interactive"] == pytest.approx(2)
    assert runs["test_runners", "background"] == pytest.approx(3)
    counts = shown["pipeline_run_seconds_count"]
    assert sum(counts.values()) == 2
    assert shown["pipeline_queue_seconds_bucket"]["test_runners", "2.5", "background"] == 1
    assert shown["pipeline_queue_seconds_bucket"]["test_runners", "1.0", "background"] == 0


def test_what_waits_is_shown_by_rank_with_the_oldest(harness: Any) -> None:
    worker = harness.worker()
    harness.ask()
    harness.wait(1)
    harness.ask(priority="background")
    harness.wait(2)
    harness.ask()
    shown = runners(harness)
    assert (shown["slots"], shown["ready_slots"], shown["running"]) == (1, 1, 1)
    assert {rank: n for rank, n in shown["waiting"].items() if n} == {
        "interactive": 1,
        "background": 1,
    }
    assert shown["oldest_waiting_s"] == pytest.approx(2)
    assert metrics(harness)["pipeline_oldest_waiting_seconds"]["test_runners",] == pytest.approx(2)
    for _ in range(3):
        worker.finish()
    assert runners(harness)["oldest_waiting_s"] == 0
    assert sum(runners(harness)["waiting"].values()) == 0


def test_demand_is_what_waits_and_runs_and_was_refused(build: Any) -> None:
    harness = build(queue=2)
    worker = harness.worker()
    for _ in range(3):
        harness.ask()
    assert metrics(harness)["pipeline_demand_slots"][RUBY] == 3
    harness.wait(2)
    worker.finish()  # a job runs for two seconds, as far as is known
    harness.ask()
    refused = [harness.ask() for _ in range(30)]
    assert {harness.code(client) for client in refused} == {503}
    demand = 3 + len(refused) / min(WINDOW_S, harness.now) * 2
    assert metrics(harness)["pipeline_demand_slots"][RUBY] == pytest.approx(demand)
    assert runners(harness)["demand_slots"] == pytest.approx(demand)
    harness.wait(WINDOW_S + 1)
    assert metrics(harness)["pipeline_demand_slots"][RUBY] == 3


def test_who_is_scaled_to_nothing_sees_demand(harness: Any) -> None:
    """Nobody is there, all is refused at once: nothing ever waits or runs."""
    assert metrics(harness)["pipeline_demand_slots"][RUBY] == 0
    assert harness.code(harness.ask()) == 503
    assert metrics(harness)["pipeline_demand_slots"][RUBY] > 0


def test_what_no_slot_would_mend_is_no_demand(harness: Any) -> None:
    worker = harness.worker(ready=())
    worker.state("ruby", harness.V1, Readiness.FAILED, reason="it is broken")
    assert harness.code(harness.ask()) == 511
    assert harness.code(harness.ask(container_version="git-" + "9" * 40)) == 505
    assert metrics(harness)["pipeline_demand_slots"][RUBY] == 0


def test_ready_slots_are_shown_by_track(build: Any) -> None:
    harness = build(wanted=[("ruby", build.V1), ("ruby", build.V2), ("c", build.V1)])
    harness.worker("all", slots=4)
    harness.worker("scoped", "c", slots=2)
    harness.worker("half", slots=1, ready=[("ruby", build.V2)])
    shown = metrics(harness)["pipeline_ready_slots"]
    assert shown["test_runners", "ruby"] == 5
    assert shown["test_runners", "c"] == 6
    assert runners(harness)["tracks"]["ruby"]["versions"] == {build.V1: 1, build.V2: 2}


def test_a_lost_worker_is_missing_and_its_job_sent_again(harness: Any) -> None:
    lost, _ = harness.worker("lost"), harness.worker("other")
    harness.ask()
    lost.beats = False
    harness.wait(5)
    shown = metrics(harness)
    assert shown["pipeline_workers"]["test_runners", "missing"] == 1
    assert shown["pipeline_workers"]["test_runners", "ready"] == 1
    assert shown["pipeline_workers_lost_total"]["test_runners",] == 1
    assert shown["pipeline_redispatches_total"]["test_runners",] == 1
    (missing,) = status(harness)["missing"]
    assert (missing["identity"], missing["why"][:10]) == ("lost", "silent for")
    assert 0 < missing["missing_s"] < 5
    harness.worker("lost", peer=b"again")
    assert metrics(harness)["pipeline_workers"]["test_runners", "missing"] == 0


def test_workers_are_shown_by_state(harness: Any) -> None:
    for name, ready in (("ready", None), ("preparing", ())):
        harness.worker(name, ready=ready)
    sick = harness.worker("sick")
    sick.say(WorkerHeartbeat(0, 0.5, True, "out of the pool"))
    harness.worker("draining")
    harness.ask(action="drain_worker", identity="draining")
    shown = {one["identity"]: one for one in status(harness)["workers"]}
    assert {name: one["state"] for name, one in shown.items()} == {
        "ready": "ready",
        "preparing": "preparing",
        "sick": "trouble",
        "draining": "draining",
    }
    assert shown["sick"]["trouble"] == "out of the pool"
    counts = metrics(harness)["pipeline_workers"]
    assert [counts["test_runners", state] for state in WORKER_STATES] == [1, 1, 0, 1, 1]
    harness.ask(action="restart_workers")
    assert metrics(harness)["pipeline_workers"]["test_runners", "restarting"] > 0


def test_an_unready_version_is_shown_with_since_and_why(harness: Any) -> None:
    worker = harness.worker("w1", ready=())
    metrics(harness)  # as once a second
    harness.wait(7)
    worker.state("ruby", harness.V1, Readiness.FAILED, reason="no space left")
    (shown,) = status(harness)["unready"]
    assert (shown["state"], shown["workers"], shown["ready"], shown["failed"]) == (
        "failed",
        1,
        0,
        1,
    )
    assert shown["since_s"] == pytest.approx(7)
    assert shown["laggards"] == [{"identity": "w1", "state": "failed", "reason": "no space left"}]
    assert metrics(harness)["pipeline_unready_versions_seconds"][RUBY] == pytest.approx(7)
    worker.state("ruby", harness.V1, Readiness.READY)
    assert status(harness)["unready"] == []
    assert "pipeline_unready_versions" not in metrics(harness)


def test_a_failed_save_is_shown_until_one_is_done(harness: Any) -> None:
    assert unready(harness) == ()
    harness.do(Saved("no space left on /etc"))
    harness.wait(3)
    assert metrics(harness)["pipeline_save_failed"][()] == 1
    assert "no space left on /etc" in unready(harness)[0]
    shown = status(harness)["save"]
    assert (shown["failed"], shown["error"]) == (1, "no space left on /etc")
    assert shown["failing_s"] == pytest.approx(3)
    harness.do(Saved())
    assert metrics(harness)["pipeline_save_failed"][()] == 0
    assert metrics(harness)["pipeline_saves_total"] == {("done",): 1, ("failed",): 1}
    assert unready(harness) == ()


def test_a_reload_is_shown(harness: Any) -> None:
    harness.do(ConfigUnusable("line 3: what is that"))
    assert metrics(harness)["pipeline_reload_failed"][()] == 1
    harness.do(ConfigRead(Config()))
    assert metrics(harness)["pipeline_reload_failed"][()] == 0
    assert metrics(harness)["pipeline_reloads_total"] == {("done",): 1, ("failed",): 1}


def test_a_start_and_an_end_are_not_ready(build: Any) -> None:
    harness = build(settled=False)
    assert unready(harness) == ("the router has just started",)
    assert metrics(harness)["pipeline_serving"][()] == 0
    harness.wait(4)
    assert unready(harness) == ()
    harness.worker()
    harness.ask()
    harness.do(StopAsked())
    assert unready(harness) == ("the router is shutting down",)


def test_whoever_is_turned_away_is_counted(harness: Any) -> None:
    harness.do(TurnedAway("a connection with an unknown key", "clients", 3, "abc at 10.0.0.7"))
    shown = metrics(harness)
    assert shown["pipeline_turned_away_total"] == {("a connection with an unknown key",): 3}
    assert shown["pipeline_refused_total"]["clients", "a connection with an unknown key"] == 3
    harness.ask(container_version="git-" + "9" * 40)
    assert (
        metrics(harness)["pipeline_refused_total"]["test_runners", "505 Version not deployed"] == 1
    )


def test_no_label_has_a_strangers_word(build: Any) -> None:
    """Whatever they say, the metrics are those of a router to which nobody said anything odd."""
    odd = "zz" * 10
    harness = build()
    worker = harness.worker(odd)
    harness.ask(odd)
    worker.finish(code=987654321)
    for field in ("track_slug", "exercise_slug", "container_version"):
        harness.ask(**{field: odd})
    harness.ask(action="cancel", id=odd, of_action=odd)
    harness.ask(action="drain_worker", identity=odd)
    worker.say(WorkerHeartbeat(0, 0.0, True, odd, odd))
    worker.state(odd, odd, Readiness.FAILED, reason=odd)
    harness.worker("w2", odd)
    body = json.dumps({"action": "deployment_check", "track_slug": odd, "channel": "recommenders"})
    harness.do(Requested((odd.encode(),), decode_request(body.encode()), body.encode()))
    shown = metrics(harness)
    for name, values in shown.items():
        for labels in values:
            assert odd not in "".join(labels), name
            assert "987654321" not in labels
    assert shown["pipeline_requests_total"]["test_solution", "other"] == 1
    assert sum(len(values) for values in shown.values()) < 1500


def test_what_is_shown_of_many_stays_small(build: Any) -> None:
    harness = build(queue=10_000, wanted=[(f"track-{n}", build.V1) for n in range(60)])
    for number in range(300):
        harness.worker(f"w{number}", slots=4)
    for number in range(1200):
        harness.ask(track_slug=f"track-{number % 60}")
    one = harness.core.snapshot(harness.now, 0.0)
    assert len(json.loads(one.status)["workers"]) == 300
    assert len(one.status) < 300 * 400
    assert sum(len(family.samples) for family in one.families) < 600
