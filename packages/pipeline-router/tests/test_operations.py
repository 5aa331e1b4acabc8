"""The router's own actions, and its end."""

from typing import Any

import pytest

from pipeline_protocol.link import PROTOCOL, Drain, Forget, Goodbye, Readiness, WorkerHeartbeat
from pipeline_router.events import StopAsked
from pipeline_router.presence import MAX_MISSING

NOBODY: dict[str, list[Any]] = {"workers": [], "missing": []}


def missing(harness: Any) -> list[tuple[str, float, str]]:
    workers = harness.response(harness.ask(action="describe_workers"))
    return [(one["identity"], one["missing_s"], one["why"]) for one in workers["missing"]]


def test_a_lost_worker_is_missing_until_it_is_back(harness: Any) -> None:
    worker = harness.worker("w1", "ruby", slots=3)
    harness.cut(worker)
    harness.wait(2)
    ((name, for_s, why),) = missing(harness)
    assert (name, why) == ("w1", "its connection is gone")
    assert 0 < for_s <= 2
    harness.wait(60)
    assert missing(harness)[0][1] == for_s + 60
    channels = harness.response(harness.ask(action="current_worker_status"))["channels"]
    assert (channels["test_runners"]["missing"], channels["builders"]["missing"]) == (1, 0)
    harness.worker("w1", peer=b"again", instance="another")
    assert missing(harness) == []


def test_a_silent_worker_is_missing_and_says_why(harness: Any) -> None:
    harness.worker("w1").beats = False
    harness.wait(5)
    assert "silent for" in missing(harness)[0][2]


@pytest.mark.parametrize("action", ["dismiss_worker", "drain_worker"])
def test_who_will_not_come_back_is_dismissed(harness: Any, action: str) -> None:
    harness.cut(harness.worker("w1"))
    harness.cut(harness.worker("w2"))
    harness.wait(2)
    told = harness.ask(action=action, identity="w1")
    assert harness.response(told) == {"workers": ["w1"]}
    assert [name for name, *_ in missing(harness)] == ["w2"]


def test_only_who_is_missing_can_be_dismissed(harness: Any) -> None:
    harness.worker("w1")
    harness.cut(harness.worker("worker-2"))
    harness.wait(2)
    there, unknown = (harness.ask(action="dismiss_worker", identity=n) for n in ("w1", "worker-3"))
    assert harness.code(there) == harness.code(unknown) == 400
    assert "is not missing: drain it" in harness.error(there)
    assert "did you mean 'worker-2'?" in harness.error(unknown)


def test_who_left_was_drained_or_was_replaced_is_not_missing(harness: Any) -> None:
    harness.worker("w1").say(Goodbye())
    drained = harness.worker("w2")
    harness.ask(action="drain_worker", identity="w2")
    harness.cut(drained)
    before = harness.worker("w3")
    harness.cut(before)
    harness.worker("w3", peer=b"new", instance="new")
    harness.wait(2)
    assert missing(harness) == []


def test_missing_workers_are_bounded(harness: Any) -> None:
    for number in range(MAX_MISSING + 5):
        harness.cut(harness.worker(f"w{number}"))
    harness.wait(2)
    assert len(missing(harness)) == MAX_MISSING


def test_ping(harness: Any) -> None:
    assert harness.response(harness.ask(action="ping"))["uptime_s"] == harness.now


def test_current_config_has_everything_in_force(harness: Any) -> None:
    config = harness.response(harness.ask(action="current_config"))
    assert config["router"]["queue"] == 100
    assert config["channels"]["builders"]["limits"]["wall_s"] == 1800
    assert config["versions"] == {"test_runners": {"ruby": {harness.V1: None}}}


def test_current_worker_status_counts(harness: Any) -> None:
    harness.worker(slots=2)
    for _ in range(5):
        harness.ask()
    status = harness.response(harness.ask(action="current_worker_status"))["channels"]
    none = {
        "workers": 0,
        "slots": 0,
        "running": 0,
        "waiting": 0,
        "unready_slots": 0,
        "missing": 0,
        "keeping": 0,
    }
    assert status["test_runners"] == none | {"workers": 1, "slots": 2, "running": 2, "waiting": 3}
    assert status["builders"] == none


def test_slots_that_cannot_serve_are_counted_apart(harness: Any) -> None:
    def slots() -> tuple[int, int]:
        channels = harness.response(harness.ask(action="current_worker_status"))["channels"]
        return channels["test_runners"]["slots"], channels["test_runners"]["unready_slots"]

    harness.worker("w1", slots=2)
    empty = harness.worker("w2", slots=3, ready=())
    assert slots() == (5, 3)
    empty.state("ruby", harness.V1, Readiness.READY)
    assert slots() == (5, 0)
    harness.ask(action="drain_worker", identity="w1")
    assert slots() == (5, 2)


def test_describe_workers(harness: Any) -> None:
    worker = harness.worker("w1", "ruby", slots=3)
    worker.state("bash", "v", Readiness.PREPARING, percent=5)
    harness.ask()
    (described,) = harness.response(harness.ask(action="describe_workers"))["workers"]
    assert described["identity"] == "w1"
    assert described["topics"] == ["ruby"]
    assert (described["slots"], described["running"]) == (3, 1)
    assert len(described["versions"]) == 2


def test_a_worker_of_protocol_1_is_told_its_own_number_and_comes_to_be_refused(
    harness: Any,
) -> None:
    older = harness.ask(action="configure_worker", channel="test_runners")
    own = harness.ask(action="configure_worker", channel="test_runners", protocol=PROTOCOL)
    told = [harness.response(client)["protocol"] for client in (older, own)]
    assert told == [1, PROTOCOL]


def test_configure_worker_tells_the_port_and_warns_of_unknown_topics(harness: Any) -> None:
    known = harness.ask(action="configure_worker", channel="test_runners", topics=["ruby"])
    assert harness.response(known) == {"link_port": 5556, "protocol": 1}
    unknown = harness.ask(action="configure_worker", channel="test_runners", topics=["elm"])
    (warning,) = harness.response(unknown)["warnings"]
    assert "'elm'" in warning


def test_workers_that_keep_what_is_not_wanted_are_told_of_until_they_do_not(harness: Any) -> None:
    worker = harness.worker("w1")
    harness.worker("w2")
    for _ in range(3):
        worker.say(WorkerHeartbeat(0, keeps="keeps 2 images that are not wanted: so"))
    described = harness.response(harness.ask(action="describe_workers"))["workers"]
    assert [one["keeps"] for one in described] == ["keeps 2 images that are not wanted: so", ""]
    status = harness.response(harness.ask(action="current_worker_status"))["channels"]
    assert status["test_runners"]["keeping"] == 1
    worker.say(WorkerHeartbeat(0))
    assert [note for note in harness.notes if "keeps" in note] == [
        "worker w1 keeps 2 images that are not wanted: so",
        "worker w1 keeps nothing any more that is not wanted",
    ]


def test_all_workers_or_those_that_are_named_are_told_to_forget_images(harness: Any) -> None:
    workers = [harness.worker(name) for name in ("w1", "w2")]

    def forgetting(*named: str) -> tuple[Any, list[int]]:
        asked = harness.ask(action="forget_images", workers=named)
        return asked, [len(worker.heard(Forget)) for worker in workers]

    asked, told = forgetting()
    assert (harness.response(asked), told) == ({"workers": ["w1", "w2"]}, [1, 1])
    asked, told = forgetting("w2")
    assert (harness.response(asked), told) == ({"workers": ["w2"]}, [1, 2])
    assert harness.notes[-1] == "told to forget images that are not wanted: w2"
    asked, told = forgetting("w2", "w3")
    assert harness.code(asked) == 400
    assert "'w3'" in harness.error(asked)
    assert told == [1, 2], "nobody is told, where one is unknown"


def test_a_drained_worker_finishes_and_leaves(harness: Any) -> None:
    worker = harness.worker(slots=2)
    client = harness.ask()
    told = harness.ask(action="drain_worker", identity="w1")
    assert harness.response(told) == {"workers": ["w1"]}
    assert len(worker.heard(Drain)) == 1
    assert harness.code(harness.ask()) == 503, "a draining worker is not suitable"
    worker.finish()
    worker.say(Goodbye())
    assert harness.code(client) == 200
    assert harness.response(harness.ask(action="describe_workers")) == NOBODY


def test_draining_nobody_is_400_with_the_nearest_name(harness: Any) -> None:
    harness.worker("worker-1")
    client = harness.ask(action="drain_worker", identity="worker-2")
    assert harness.code(client) == 400
    assert "'worker-1'" in harness.error(client)


def test_stopping_refuses_what_is_new_and_what_waits_and_finishes_what_runs(harness: Any) -> None:
    worker = harness.worker()
    running, waiting = harness.ask(), harness.ask()
    harness.do(StopAsked())
    new = harness.ask()
    for client in (waiting, new):
        assert harness.code(client) == 503
        assert harness.reply(client).context.retry_after_s > 0
    deploy = harness.ask(
        action="deploy_container_version",
        new_version="v",
        track_slug="ruby",
        channel="test_runners",
    )
    assert harness.code(deploy) == 503
    assert not harness.finished
    worker.finish()
    harness.wait(1)
    assert harness.code(running) == 200
    assert harness.finished


def test_stopping_waits_only_so_long(harness: Any) -> None:
    harness.worker()
    client = harness.ask(timeout_s=300)
    harness.do(StopAsked())
    harness.wait(20)
    assert not harness.finished
    harness.wait(20)
    assert harness.finished
    assert harness.code(client) == 503


def test_a_second_signal_ends_it_at_once(harness: Any) -> None:
    harness.worker()
    harness.ask()
    harness.do(StopAsked())
    harness.do(StopAsked())
    assert harness.finished


def test_stopping_with_nothing_to_do_ends_at_once(harness: Any) -> None:
    harness.do(StopAsked())
    assert harness.finished


def test_a_worker_lost_while_stopping_gives_its_job_up(harness: Any) -> None:
    worker = harness.worker()
    client = harness.ask()
    harness.do(StopAsked())
    harness.cut(worker)
    harness.wait(2)
    assert harness.code(client) == 503
    assert harness.finished


# --- what the log says


def noted(harness: Any, *words: str) -> list[str]:
    """Return the lines of the log that have all of these words."""
    return [line for line in harness.notes if all(word in line for word in words)]


def test_what_operators_do_is_one_line_each_in_the_log(harness: Any) -> None:
    harness.worker("w1", slots=2)
    track = {"track_slug": "ruby", "channel": "test_runners"}
    harness.ask(action="deploy_container_version", new_version="v2", **track)
    harness.ask(action="unload_container_version", version=harness.V1, **track)
    harness.ask(action="update_container_versions", versions=["v3"], **track)
    harness.ask("run-7", container_version="v3")
    harness.ask(action="cancel", id="run-7")
    harness.ask(action="restart_workers")
    harness.ask(action="drain_worker", identity="w1")
    for words in (
        ("deploy v2 of ruby on test_runners", f"wanted now: {harness.V1}, v2"),
        (f"unload {harness.V1} of ruby on test_runners", "wanted now: v2"),
        ("update versions of ruby on test_runners", "wanted now: v3"),
        ("cancelled: run-7 of test_solution",),
        ("workers told to restart: 1",),
        ("worker w1 is told to drain",),
    ):
        assert len(noted(harness, *words)) == 1, words


def test_dismissing_is_in_the_log(harness: Any) -> None:
    harness.cut(harness.worker("w1"))
    harness.wait(2)
    harness.ask(action="dismiss_worker", identity="w1")
    assert len(noted(harness, "w1 is missed no longer")) == 1


def test_workers_coming_and_going_is_in_the_log(harness: Any) -> None:
    harness.worker("w1").say(Goodbye())
    second = harness.worker("w2")
    second.say(WorkerHeartbeat(0, draining=True, trouble="its disk is full"))
    harness.cut(second)
    harness.worker("w3", protocol=99)
    harness.wait(2)
    for words in (
        ("w1 is there",),
        ("w1 has left",),
        ("w2 takes no more jobs: its disk is full",),
        ("w2 is lost",),
        ("a worker's hello, protocol", "w3: the router speaks protocol"),
    ):
        assert len(noted(harness, *words)) == 1, words


def test_refusals_are_in_the_log_by_kind_at_most_once_in_ten_seconds(harness: Any) -> None:
    for _ in range(5):
        harness.ask()
        harness.ask(container_version="none")
        harness.ask(action="drain_worker", identity="nobody")
    harness.wait(1)
    (line,) = noted(harness, "503 No worker available (test_runners)")
    assert "times: 5; the last: no worker of test_runners is there" in line
    assert len(noted(harness, "505 Version not deployed (test_runners), times: 5")) == 1
    assert len(noted(harness, "400 Unusable request (drain_worker), times: 5")) == 1
    for _ in range(30):
        harness.ask()
    harness.wait(5)
    assert len(noted(harness, "503")) == 1
    harness.wait(6)
    assert len(noted(harness, "503", "times: 30;")) == 1
    harness.wait(30)
    assert len(noted(harness, "503")) == 2, "what has not happened again is no line"


def test_what_its_sender_took_back_is_no_refusal(harness: Any) -> None:
    harness.worker()
    harness.ask("run-1")
    harness.ask(action="cancel", id="run-1")
    harness.wait(2)
    assert noted(harness, "refused") == []
