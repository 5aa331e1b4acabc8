"""The router's own actions, and its end."""

from typing import Any

from pipeline_protocol.link import Drain, Goodbye, Readiness
from pipeline_router.events import StopAsked


def test_ping(house: Any) -> None:
    assert house.response(house.ask(action="ping"))["uptime_s"] == house.now


def test_current_config_has_everything_in_force(house: Any) -> None:
    config = house.response(house.ask(action="current_config"))
    assert config["router"]["queue"] == 100
    assert config["channels"]["builders"]["limits"]["wall_s"] == 1800
    assert config["versions"] == {"test_runners": {"ruby": {house.V1: None}}}


def test_current_worker_status_counts(house: Any) -> None:
    house.worker(slots=2)
    for _ in range(5):
        house.ask()
    status = house.response(house.ask(action="current_worker_status"))["channels"]
    assert status["test_runners"] == {"workers": 1, "slots": 2, "running": 2, "waiting": 3}
    assert status["builders"] == {"workers": 0, "slots": 0, "running": 0, "waiting": 0}


def test_describe_workers(house: Any) -> None:
    worker = house.worker("w1", "ruby", slots=3)
    worker.state("bash", "v", Readiness.PREPARING, percent=5)
    house.ask()
    (described,) = house.response(house.ask(action="describe_workers"))["workers"]
    assert described["identity"] == "w1"
    assert described["topics"] == ["ruby"]
    assert (described["slots"], described["running"]) == (3, 1)
    assert len(described["versions"]) == 2


def test_configure_worker_tells_the_port_and_warns_of_unknown_topics(house: Any) -> None:
    known = house.ask(action="configure_worker", channel="test_runners", topics=["ruby"])
    assert house.response(known) == {"link_port": 5556, "protocol": 1}
    unknown = house.ask(action="configure_worker", channel="test_runners", topics=["elm"])
    (warning,) = house.response(unknown)["warnings"]
    assert "'elm'" in warning


def test_a_drained_worker_finishes_and_leaves(house: Any) -> None:
    worker = house.worker(slots=2)
    client = house.ask()
    told = house.ask(action="drain_worker", identity="w1")
    assert house.response(told) == {"workers": ["w1"]}
    assert len(worker.heard(Drain)) == 1
    assert house.code(house.ask()) == 503, "a draining worker is not suitable"
    worker.finish()
    worker.say(Goodbye())
    assert house.code(client) == 200
    assert house.response(house.ask(action="describe_workers")) == {"workers": []}


def test_draining_nobody_is_400_with_the_nearest_name(house: Any) -> None:
    house.worker("worker-1")
    client = house.ask(action="drain_worker", identity="worker-2")
    assert house.code(client) == 400
    assert "'worker-1'" in house.error(client)


def test_stopping_refuses_what_is_new_and_what_waits_and_finishes_what_runs(house: Any) -> None:
    worker = house.worker()
    running, waiting = house.ask(), house.ask()
    house.do(StopAsked())
    new = house.ask()
    for client in (waiting, new):
        assert house.code(client) == 503
        assert house.reply(client).context.retry_after_s > 0
    deploy = house.ask(
        action="deploy_container_version",
        new_version="v",
        track_slug="ruby",
        channel="test_runners",
    )
    assert house.code(deploy) == 503
    assert not house.finished
    worker.finish()
    house.wait(1)
    assert house.code(running) == 200
    assert house.finished


def test_stopping_waits_only_so_long(house: Any) -> None:
    house.worker()
    client = house.ask(timeout_s=300)
    house.do(StopAsked())
    house.wait(20)
    assert not house.finished
    house.wait(20)
    assert house.finished
    assert house.code(client) == 503


def test_a_second_signal_ends_it_at_once(house: Any) -> None:
    house.worker()
    house.ask()
    house.do(StopAsked())
    house.do(StopAsked())
    assert house.finished


def test_stopping_with_nothing_to_do_ends_at_once(house: Any) -> None:
    house.do(StopAsked())
    assert house.finished


def test_a_worker_lost_while_stopping_gives_its_job_up(house: Any) -> None:
    worker = house.worker()
    client = house.ask()
    house.do(StopAsked())
    house.cut(worker)
    house.wait(2)
    assert house.code(client) == 503
    assert house.finished
