"""The router's own actions, and its end."""

from typing import Any

from pipeline_protocol.link import PROTOCOL, Drain, Forget, Goodbye, Readiness, WorkerHeartbeat
from pipeline_router.events import StopAsked


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
    none = {"keeping": 0}
    assert status["test_runners"] == {"workers": 1, "slots": 2, "running": 2, "waiting": 3} | none
    assert status["builders"] == {"workers": 0, "slots": 0, "running": 0, "waiting": 0} | none


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
    assert harness.response(harness.ask(action="describe_workers")) == {"workers": []}


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
